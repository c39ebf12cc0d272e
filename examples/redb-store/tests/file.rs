//! What the suite cannot know: that records are in a file.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use idem_core::{
    Claim, Claimed, Fence, FingerprintBuilder, IdempotencyKey, KeyFormat, Owner, RecordId, Recover,
    ScopeValue, Store, StoredResponse, Written,
};
use redb_store::RedbStore;

fn claim(key: &'static str) -> Claim {
    let name = HeaderName::from_static("idempotency-key");
    let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(key))]);
    let key = IdempotencyKey::from_headers(&headers, &name, KeyFormat::Any);
    let key = key.expect("a valid key").expect("a key");
    Claim {
        owner: Owner::draw(RecordId::sent("POST /", &ScopeValue::global(), &key)),
        fingerprint: FingerprintBuilder::new(&Method::POST, "/").none(),
        recover: Recover::Retry,
        lease: Duration::from_mins(1),
        ttl: Duration::from_hours(1),
    }
}

async fn won(store: &RedbStore, claim: &Claim) -> Fence {
    match store.claim(claim).await.expect("a verdict").claimed {
        Claimed::Won { fence, .. } => fence,
        refused => panic!("it should have won: {refused:?}"),
    }
}

#[tokio::test]
async fn a_file_that_is_opened_again_has_its_records_and_its_fences() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("records.redb");
    let answer =
        StoredResponse { status: StatusCode::OK, headers: Vec::new(), body: Some("done".into()) };
    let mut last = {
        let store = RedbStore::open(&path).expect("a store");
        let done = claim("done");
        won(&store, &done).await;
        let written = store.complete(&done.owner, &answer, Duration::from_hours(1)).await;
        assert_eq!(written.expect("an answer"), Written::Accepted);
        let forgotten = claim("forgotten");
        let fence = won(&store, &forgotten).await;
        store.forget(&forgotten.owner.id).await.expect("it is forgotten");
        fence
    };
    for _ in 0..3 {
        let store = RedbStore::open(&path).expect("a store");
        let claimed = store.claim(&claim("done")).await.expect("a verdict").claimed;
        assert_eq!(claimed, Claimed::Completed(answer.clone()));
        let forgotten = claim("forgotten");
        let fence = won(&store, &forgotten).await;
        assert!(fence > last, "{fence:?} is not above {last:?}");
        last = fence;
        store.forget(&forgotten.owner.id).await.expect("it is forgotten");
    }
}

#[test]
fn a_file_is_opened_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("records.redb");
    let _store = RedbStore::open(&path).expect("a store");
    assert!(RedbStore::open(&path).is_err());
}
