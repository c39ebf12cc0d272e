//! Requests, as the tests make them.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header::LOCATION};
use idem_core::{
    Claim, Claimed, FingerprintBuilder, IdempotencyKey, Judged, KeyFormat, Owner, RecordId,
    Recover, ScopeValue, StoredResponse,
};

pub(crate) const TTL: Duration = Duration::from_hours(24);
pub(crate) const LEASE: Duration = Duration::from_mins(1);

pub(crate) fn id(key: &str) -> RecordId {
    let name = HeaderName::from_static("idempotency-key");
    let headers = HeaderMap::from_iter([(name.clone(), key.parse().unwrap())]);
    let key = IdempotencyKey::from_headers(&headers, &name, KeyFormat::Any).unwrap().unwrap();
    RecordId::sent("POST /payments", &ScopeValue::of("ann"), &key)
}

/// A new attempt at a record.
pub(crate) fn claim(key: &str) -> Claim {
    Claim {
        owner: Owner::draw(id(key)),
        fingerprint: FingerprintBuilder::new(&Method::POST, "/payments").none(),
        recover: Recover::Retry,
        lease: LEASE,
        ttl: TTL,
    }
}

pub(crate) fn response(body: &'static str) -> StoredResponse {
    StoredResponse {
        status: StatusCode::CREATED,
        headers: vec![(LOCATION, HeaderValue::from_static("/payments/1"))],
        body: Some(Bytes::from_static(body.as_bytes())),
    }
}

pub(crate) fn is_won(judged: &Judged) -> bool {
    matches!(judged.claimed, Claimed::Won { .. })
}
