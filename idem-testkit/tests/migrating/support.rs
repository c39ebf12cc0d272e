//! Two stores, both seen through one, and requests.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use idem_core::{
    Claim, Claimed, Fence, FingerprintBuilder, IdempotencyKey, KeyFormat, MemoryStore, Migrating,
    Owner, RecordId, Recover, ScopeValue, Store, StoredResponse, Written,
};

pub(crate) const LEASE: Duration = Duration::from_mins(1);
pub(crate) const TTL: Duration = Duration::from_hours(24);

/// What processes use: the old store alone, both, the new one alone.
pub(crate) struct Stores {
    pub(crate) old: MemoryStore,
    pub(crate) both: Migrating,
    pub(crate) new: MemoryStore,
}

impl Stores {
    pub(crate) fn empty() -> Self {
        let (old, new) = (MemoryStore::new(), MemoryStore::new());
        Self { both: Migrating::new(old.clone(), new.clone()), old, new }
    }

    pub(crate) fn elapse(&self, by: Duration) {
        self.old.advance(by);
        self.new.advance(by);
    }
}

pub(crate) fn id(key: &str) -> RecordId {
    let name = HeaderName::from_static("idempotency-key");
    let value = HeaderValue::from_str(key).expect("a header value");
    let headers = HeaderMap::from_iter([(name.clone(), value)]);
    let key = IdempotencyKey::from_headers(&headers, &name, KeyFormat::Any);
    RecordId::sent("POST /", &ScopeValue::global(), &key.expect("a valid key").expect("a key"))
}

/// A new attempt at a record.
pub(crate) fn claim(key: &str, recover: Recover) -> Claim {
    Claim {
        owner: Owner::draw(id(key)),
        fingerprint: FingerprintBuilder::new(&Method::POST, "/").none(),
        recover,
        lease: LEASE,
        ttl: TTL,
    }
}

/// A new attempt at a record, for another request.
pub(crate) fn other_claim(key: &str) -> Claim {
    let fingerprint = FingerprintBuilder::new(&Method::PUT, "/").none();
    Claim { fingerprint, ..claim(key, Recover::Retry) }
}

pub(crate) fn response(body: &'static str) -> StoredResponse {
    let body = Some(Bytes::from_static(body.as_bytes()));
    StoredResponse { status: StatusCode::OK, headers: Vec::new(), body }
}

pub(crate) fn completed(body: &'static str) -> Claimed {
    Claimed::Completed(response(body))
}

pub(crate) async fn verdict(store: &impl Store, claim: &Claim) -> Claimed {
    store.claim(claim).await.expect("a verdict").claimed
}

/// What a retry is told.
pub(crate) async fn retried(store: &impl Store, key: &str) -> Claimed {
    verdict(store, &claim(key, Recover::Retry)).await
}

/// Fence and number of a claim that must be won.
pub(crate) async fn won(store: &impl Store, claim: &Claim) -> (Fence, u32) {
    match verdict(store, claim).await {
        Claimed::Won { fence, number, .. } => (fence, number),
        refused => panic!("it should have won: {refused:?}"),
    }
}

pub(crate) async fn complete(store: &impl Store, owner: &Owner, body: &'static str) -> Written {
    store.complete(owner, &response(body), TTL).await.expect("an answer")
}
