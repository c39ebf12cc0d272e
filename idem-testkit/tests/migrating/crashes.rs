//! Processes that die when one of the stores knows something and the other one does not.

use idem_core::{Claim, Claimed, Held, Recover, Resolution, State, Store, Written};

use crate::support::{
    LEASE, Stores, TTL, claim, complete, completed, id, response, retried, verdict, won,
};

const BOTH_MODES: [Recover; 2] = [Recover::Retry, Recover::Hold];

#[tokio::test]
async fn a_claim_that_reached_only_the_old_store_lapses() {
    let stores = Stores::empty();
    won(&stores.old, &claim("k", Recover::Retry)).await;
    assert_eq!(retried(&stores.both, "k").await, Claimed::InFlight);
    stores.elapse(LEASE);
    let (_, number) = won(&stores.both, &claim("k", Recover::Retry)).await;
    assert_eq!(number, 2);
}

#[tokio::test]
async fn a_claim_that_reached_only_the_old_store_comes_to_be_held() {
    let stores = Stores::empty();
    let first = claim("k", Recover::Hold);
    won(&stores.old, &first).await;
    stores.elapse(LEASE);
    assert_eq!(retried(&stores.both, "k").await, Claimed::Held);
    let held = stores.both.held(None, 10).await.unwrap();
    assert_eq!(held.iter().map(Held::owner).collect::<Vec<_>>(), [first.owner]);
}

/// Nobody was told the answer yet. From the moment on when somebody is, all are.
#[tokio::test]
async fn an_answer_that_only_the_new_store_has_is_replayed_by_all() {
    for recover in BOTH_MODES {
        let stores = Stores::empty();
        let first = claim("k", recover);
        won(&stores.both, &first).await;
        assert_eq!(complete(&stores.new, &first.owner, "done").await, Written::Accepted);
        assert_eq!(retried(&stores.both, "k").await, Claimed::InFlight, "{recover:?}");
        stores.elapse(LEASE);
        let retry = claim("k", recover);
        assert_eq!(verdict(&stores.both, &retry).await, completed("done"), "{recover:?}");
        assert_eq!(verdict(&stores.old, &retry).await, completed("done"), "{recover:?}");
        assert_eq!(verdict(&stores.new, &retry).await, completed("done"), "{recover:?}");
        assert_eq!(stores.both.held(None, 10).await.unwrap(), [], "{recover:?}");
    }
}

#[tokio::test]
async fn who_records_an_answer_that_only_the_new_store_has_does_so_again() {
    let stores = Stores::empty();
    let first = claim("k", Recover::Retry);
    won(&stores.both, &first).await;
    assert_eq!(complete(&stores.new, &first.owner, "done").await, Written::Accepted);
    assert_eq!(complete(&stores.both, &first.owner, "done").await, Written::Accepted);
    assert_eq!(retried(&stores.old, "k").await, completed("done"));
}

#[tokio::test]
async fn a_failure_that_only_the_new_store_knows_frees_the_key() {
    for recover in BOTH_MODES {
        let stores = Stores::empty();
        let first = claim("k", recover);
        won(&stores.both, &first).await;
        assert_eq!(stores.new.fail(&first.owner, TTL).await.unwrap(), Written::Accepted);
        stores.elapse(LEASE);
        let (_, number) = won(&stores.both, &claim("k", recover)).await;
        assert_eq!(number, 2, "{recover:?}");
    }
}

fn resolutions() -> [(Resolution, Option<Claimed>); 2] {
    let decided = Resolution::Completed { response: response("decided"), ttl: TTL };
    [(decided, Some(completed("decided"))), (Resolution::Failed { ttl: TTL }, None)]
}

async fn held(stores: &Stores, by: &impl Store) -> Claim {
    let first = claim("k", Recover::Hold);
    won(by, &first).await;
    stores.elapse(LEASE);
    assert_eq!(retried(&stores.both, "k").await, Claimed::Held);
    first
}

#[tokio::test]
async fn a_decision_that_only_the_new_store_knows_counts() {
    for (resolution, expected) in resolutions() {
        let stores = Stores::empty();
        let first = held(&stores, &stores.both).await;
        let written = stores.new.resolve(&first.owner, &resolution).await.unwrap();
        assert_eq!(written, Written::Accepted);
        assert_eq!(stores.both.held(None, 10).await.unwrap(), [], "{resolution:?}");
        let claimed = retried(&stores.both, "k").await;
        match expected {
            Some(expected) => assert_eq!(claimed, expected),
            None => assert!(matches!(claimed, Claimed::Won { number: 2, .. }), "{claimed:?}"),
        }
        assert_eq!(complete(&stores.both, &first.owner, "late").await, Written::Stale);
    }
}

/// It was held before the service began to move.
#[tokio::test]
async fn a_decision_about_what_only_the_old_store_holds_reaches_both() {
    for (resolution, expected) in resolutions() {
        let stores = Stores::empty();
        let first = held(&stores, &stores.old).await;
        for _ in 0..2 {
            let written = stores.both.resolve(&first.owner, &resolution).await.unwrap();
            assert_eq!(written, Written::Accepted, "{resolution:?}");
        }
        assert_eq!(stores.both.held(None, 10).await.unwrap(), [], "{resolution:?}");
        let other = Resolution::Completed { response: response("another"), ttl: TTL };
        let written = stores.both.resolve(&first.owner, &other).await.unwrap();
        assert_eq!(written, Written::Stale, "{resolution:?}");
        if let Some(expected) = expected {
            assert_eq!(retried(&stores.both, "k").await, expected);
            assert_eq!(retried(&stores.new, "k").await, expected);
        } else {
            let (_, number) = won(&stores.both, &claim("k", Recover::Hold)).await;
            assert_eq!(number, 2);
        }
    }
}

/// An attempt of both stores failed, and a later one of the old store alone was cut off.
#[tokio::test]
async fn a_decision_about_the_old_store_is_not_hindered_by_what_failed_before() {
    for (resolution, _) in resolutions() {
        let stores = Stores::empty();
        let failed = claim("k", Recover::Hold);
        won(&stores.both, &failed).await;
        assert_eq!(stores.both.fail(&failed.owner, TTL).await.unwrap(), Written::Accepted);
        let first = held(&stores, &stores.old).await;
        let written = stores.both.resolve(&first.owner, &resolution).await.unwrap();
        assert_eq!(written, Written::Accepted, "{resolution:?}");
        let state = stores.both.get(&id("k")).await.unwrap().unwrap().state;
        assert!(matches!(state, State::Completed | State::Failed), "{state:?}");
    }
}
