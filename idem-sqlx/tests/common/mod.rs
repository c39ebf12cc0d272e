//! Requests, as the tests make them.

#![allow(dead_code, reason = "no test file uses all of it")]

pub(crate) mod observability;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header::LOCATION};
use idem_core::{
    After, Begin, Begun, Claim, Claimed, Ended, FingerprintBuilder, IdempotencyKey, Isolation,
    Judged, KeyFormat, OpenTransaction, Owner, RecordId, Recorded, Recover, ScopeValue, Store,
    StoreError, StoredResponse, TransactionSettings, Written,
};
use idem_testkit::Harness;

pub(crate) const TTL: Duration = Duration::from_hours(24);
pub(crate) const LEASE: Duration = Duration::from_secs(30);

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

/// What a new attempt at a record asks for.
pub(crate) fn begin_of(key: &str, isolation: Option<Isolation>) -> Begin {
    let Claim { owner, fingerprint, .. } = claim(key);
    let settings = TransactionSettings {
        isolation,
        lock_timeout: None,
        statement_timeout: None,
        idle_timeout: Duration::from_mins(1),
    };
    Begin { owner, fingerprint, settings }
}

/// Begins an execution that nobody is in the way of.
pub(crate) async fn begun(store: &impl Store, key: &str) -> Box<dyn OpenTransaction> {
    match store.begin(&begin_of(key, None)).await.unwrap() {
        Begun::Won { transaction, .. } => transaction,
        refused @ Begun::Refused(_) => panic!("{refused:?}"),
    }
}

/// Begins executions of records that are absent, failed, lapsed, completed and expired.
pub(crate) async fn assert_begins_after(
    store: &impl Store,
    harness: &impl Harness,
    isolation: Option<Isolation>,
) {
    const HOUR: Duration = Duration::from_hours(1);
    let begin = async || store.begin(&begin_of("k", isolation)).await.unwrap();
    let assert_won = async |number: u32, after: After, hours: u32| match begin().await {
        Begun::Won { transaction, number: found, after: really, age, .. } => {
            assert_eq!((found, really), (number, after));
            assert!((HOUR * hours..HOUR * (hours + 1)).contains(&age), "{age:?}");
            transaction.roll_back().await.unwrap();
        }
        refused @ Begun::Refused(_) => panic!("{refused:?}"),
    };
    assert_won(1, After::Nothing, 0).await;
    let leased = claim("k");
    store.claim(&leased).await.unwrap();
    assert_eq!(store.fail(&leased.owner, TTL).await.unwrap(), Written::Accepted);
    harness.elapse(HOUR).await;
    assert_won(2, After::Failure, 1).await;
    store.claim(&claim("k")).await.unwrap();
    harness.elapse(HOUR).await;
    assert_won(3, After::Lapse, 2).await;

    let Begun::Won { transaction, .. } = begin().await else { panic!("it has lapsed") };
    End::Commit.of(transaction, "done").await.unwrap();
    harness.elapse(HOUR).await;
    let Begun::Refused(Judged { claimed, age, expires_in }) = begin().await else {
        panic!("it is done")
    };
    assert_eq!(claimed, Claimed::Completed(response("done")));
    assert!((HOUR * 3..HOUR * 4).contains(&age.unwrap()), "{age:?}");
    let [least, most] = [2, 1].map(|hours| TTL.saturating_sub(HOUR * hours));
    assert!((least..most).contains(&expires_in.unwrap()), "{expires_in:?}");
    harness.elapse(TTL).await;
    assert_won(1, After::Nothing, 0).await;
}

/// How an execution is to end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Commit,
    Reject,
    RollBack,
}

pub(crate) const ENDS: [End; 3] = [End::Commit, End::Reject, End::RollBack];

impl End {
    pub(crate) async fn of(
        self,
        transaction: Box<dyn OpenTransaction>,
        body: &'static str,
    ) -> Result<Ended, StoreError> {
        let response = response(body);
        let recorded = Recorded { response: &response, ttl: TTL };
        match self {
            Self::Commit => transaction.commit(Some(recorded)).await,
            Self::Reject => transaction.reject(recorded).await,
            Self::RollBack => transaction.roll_back().await,
        }
    }

    pub(crate) fn records(self) -> bool {
        self != Self::RollBack
    }
}

/// The answer that is recorded.
pub(crate) async fn recorded(store: &impl Store, key: &str) -> Option<String> {
    match store.begin(&begin_of(key, None)).await.unwrap() {
        Begun::Refused(Judged { claimed: Claimed::Completed(response), .. }) => {
            Some(String::from_utf8(response.body.unwrap().to_vec()).unwrap())
        }
        Begun::Refused(other) => panic!("{other:?}"),
        Begun::Won { transaction, .. } => {
            transaction.roll_back().await.unwrap();
            None
        }
    }
}
