//! The store under test, and shorthands for what checks do with it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use idem_core::{
    After, Claim, Claimed, Fence, FingerprintBuilder, Held, IdempotencyKey, Judged, KeyFormat,
    Owner, Record, RecordId, Recover, Resolution, ScopeValue, State, Store, StoreError,
    StoredResponse, Written,
};

use super::harness::Harness;

/// How long claims hold, unless a check says otherwise.
pub(super) const LEASE: Duration = Duration::from_hours(1);

/// How long records live, unless a check says otherwise.
pub(super) const TTL: Duration = Duration::from_hours(24);

/// Far longer than a check takes, so that the time which really passes decides nothing.
pub(super) const MARGIN: Duration = Duration::from_mins(10);

pub(super) fn just_before(end: Duration) -> Duration {
    end.saturating_sub(MARGIN)
}

pub(super) fn just_after(end: Duration) -> Duration {
    end + MARGIN
}

/// The store under test.
#[derive(Clone)]
pub struct Subject {
    pub(super) harness: Arc<dyn Harness>,
    pub(super) store: Arc<dyn Store>,
    /// How many records went by themselves when time passed last, and no sweep has spoken of yet.
    gone: Arc<AtomicU64>,
}

impl Subject {
    pub(super) async fn open(harness: impl Harness) -> Self {
        let store = harness.open().await;
        Self { harness: Arc::new(harness), store, gone: Arc::default() }
    }

    /// The same records as another server sees them.
    pub(super) async fn reopened(&self) -> Self {
        Self { store: self.harness.open().await, ..self.clone() }
    }

    pub(super) async fn claim(&self, claim: &Claim) -> Claimed {
        self.judge(claim).await.claimed
    }

    /// The verdict with the age of the record.
    pub(super) async fn judge(&self, claim: &Claim) -> Judged {
        self.store.claim(claim).await.expect("claim")
    }

    pub(super) async fn complete(&self, owner: &Owner, body: &str) -> Written {
        self.store.complete(owner, &response(body), TTL).await.expect("complete")
    }

    pub(super) async fn fail(&self, owner: &Owner) -> Written {
        self.store.fail(owner, TTL).await.expect("fail")
    }

    pub(super) async fn hold(&self, owner: &Owner) -> Written {
        self.store.hold(owner).await.expect("hold")
    }

    pub(super) async fn renew(&self, owner: &Owner) -> Written {
        self.store.renew(owner, LEASE).await.expect("renew")
    }

    pub(super) async fn release(&self, owner: &Owner) -> Written {
        self.store.release(owner).await.expect("release")
    }

    pub(super) async fn write(&self, write: Write, owner: &Owner) -> Result<Written, StoreError> {
        match write {
            Write::Complete => self.store.complete(owner, &response("written"), TTL).await,
            Write::Fail => self.store.fail(owner, TTL).await,
            Write::Hold => self.store.hold(owner).await,
            Write::Renew => self.store.renew(owner, LEASE).await,
            Write::Release => self.store.release(owner).await,
        }
    }

    pub(super) async fn get(&self, id: &RecordId) -> Option<Record> {
        self.store.get(id).await.expect("get")
    }

    pub(super) async fn state(&self, id: &RecordId) -> Option<State> {
        self.get(id).await.map(|record| record.state)
    }

    pub(super) async fn not_in_flight(&self, ids: &[RecordId]) -> Vec<RecordId> {
        self.store.not_in_flight(ids).await.expect("the store answers")
    }

    /// Sweeps. What went by itself counts as swept, if the store says that it found nothing to do.
    pub(super) async fn sweep(&self, limit: u32) -> u64 {
        let swept = self.store.sweep(limit).await.expect("sweep");
        if self.harness.records().await.is_none() {
            return swept;
        }
        assert_eq!(swept, 0, "the database deletes expired records by itself");
        let limit = u64::from(limit);
        let take = |gone: u64| Some(gone.saturating_sub(limit));
        let before = self.gone.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        before.expect("`take` takes").min(limit)
    }

    /// All held records.
    pub(super) async fn held(&self) -> Vec<Held> {
        self.store.held(None, 1_000).await.expect("held")
    }

    pub(super) async fn resolve(&self, owner: &Owner, resolution: &Resolution) -> Written {
        self.store.resolve(owner, resolution).await.expect("resolve")
    }

    pub(super) async fn elapse(&self, by: Duration) {
        let before = self.harness.records().await;
        self.harness.elapse(by).await;
        if let (Some(before), Some(after)) = (before, self.harness.records().await) {
            self.gone.store(before - after, Ordering::Relaxed);
        }
    }

    /// Brings a new record into a situation; returns the claim that won it.
    pub(super) async fn bring_about(&self, situation: Situation, key: &str) -> Claim {
        let recover = match situation {
            Situation::HoldMode | Situation::HoldModeLapsed => Recover::Hold,
            _ => Recover::Retry,
        };
        let claim = Claim { recover, ..claim(&id(key), "request") };
        won(self.claim(&claim).await);
        let written = match situation {
            Situation::Completed => self.complete(&claim.owner, "answer").await,
            Situation::Failed => self.fail(&claim.owner).await,
            Situation::Held => self.hold(&claim.owner).await,
            _ => Written::Accepted,
        };
        assert_eq!(written, Written::Accepted, "bringing about {situation:?}");
        if matches!(situation, Situation::Lapsed | Situation::HoldModeLapsed) {
            self.elapse(just_after(LEASE)).await;
        }
        claim
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("store", &self.store).finish_non_exhaustive()
    }
}

/// What an owner can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    Complete,
    Fail,
    Hold,
    Renew,
    Release,
}

impl Write {
    pub(super) const ALL: [Self; 5] =
        [Self::Complete, Self::Fail, Self::Hold, Self::Renew, Self::Release];
}

/// What somebody can decide about a held record.
pub(super) fn resolutions() -> [Resolution; 2] {
    let response = response("resolved");
    [Resolution::Completed { response, ttl: TTL }, Resolution::Failed { ttl: TTL }]
}

/// Where an unexpired record can be in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Situation {
    Running,
    Lapsed,
    HoldMode,
    HoldModeLapsed,
    Completed,
    Failed,
    Held,
}

impl Situation {
    pub(super) const ALL: [Self; 7] = [
        Self::Running,
        Self::Lapsed,
        Self::HoldMode,
        Self::HoldModeLapsed,
        Self::Completed,
        Self::Failed,
        Self::Held,
    ];

    /// The state that a reader sees.
    pub(super) const fn state(self) -> State {
        match self {
            Self::Running | Self::Lapsed | Self::HoldMode => State::InFlight,
            Self::HoldModeLapsed | Self::Held => State::Held,
            Self::Completed => State::Completed,
            Self::Failed => State::Failed,
        }
    }
}

pub(super) fn id(key: &str) -> RecordId {
    record_id("POST /payments", &ScopeValue::of("ann"), key)
}

pub(super) fn record_id(operation: &str, scope: &ScopeValue, key: &str) -> RecordId {
    let name = HeaderName::from_static("idempotency-key");
    let value = HeaderValue::from_str(key).expect("a header value");
    let headers = HeaderMap::from_iter([(name.clone(), value)]);
    let key = IdempotencyKey::from_headers(&headers, &name, KeyFormat::Any);
    RecordId::sent(operation, scope, &key.expect("a valid key").expect("a key"))
}

/// A new attempt at a record.
pub(super) fn claim(id: &RecordId, request: &str) -> Claim {
    let body = Bytes::copy_from_slice(request.as_bytes());
    Claim {
        owner: Owner::draw(id.clone()),
        fingerprint: FingerprintBuilder::new(&Method::POST, "/payments").bytes(&body),
        recover: Recover::Retry,
        lease: LEASE,
        ttl: TTL,
    }
}

pub(super) fn response(body: &str) -> StoredResponse {
    StoredResponse {
        status: StatusCode::CREATED,
        headers: vec![(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))],
        body: Some(Bytes::copy_from_slice(body.as_bytes())),
    }
}

pub(super) fn completed(body: &str) -> Claimed {
    Claimed::Completed(response(body))
}

/// The fence and the number of a claim that must have won.
#[track_caller]
pub(super) fn won(claimed: Claimed) -> (Fence, u32) {
    match claimed {
        Claimed::Won { fence, number, .. } => (fence, number),
        refused => panic!("the claim should have won: {refused:?}"),
    }
}

/// What a claim that must have won follows.
#[track_caller]
pub(super) fn after(claimed: &Claimed) -> After {
    match claimed {
        Claimed::Won { after, .. } => *after,
        refused => panic!("the claim should have won: {refused:?}"),
    }
}
