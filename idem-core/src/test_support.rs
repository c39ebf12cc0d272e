//! Small builders for unit tests.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::{Fingerprint, FingerprintBuilder, IdempotencyKey, KeyFormat, RecordId, ScopeValue};

pub(crate) fn record_id(key: &'static str) -> RecordId {
    let name = HeaderName::from_static("k");
    let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(key))]);
    let key = IdempotencyKey::from_headers(&headers, &name, KeyFormat::Any);
    let key = key.expect("a valid key").expect("a key");
    RecordId::sent("POST /", &ScopeValue::global(), &key)
}

pub(crate) fn fingerprint(body: &'static str) -> Fingerprint {
    FingerprintBuilder::new(&Method::POST, "/").bytes(&Bytes::from_static(body.as_bytes()))
}
