//! Beside processes that use the old store alone, and beside processes that use the new one alone.

use idem_core::{Claimed, Held, RecordId, Recover, Store, Written};

use crate::support::{
    LEASE, Stores, TTL, claim, complete, completed, id, other_claim, retried, verdict, won,
};

async fn is_free(store: &impl Store, id: &RecordId) -> bool {
    store.get(id).await.unwrap().is_none()
}

#[tokio::test]
async fn what_runs_or_is_done_in_the_old_store_is_so_in_both() {
    let stores = Stores::empty();
    let first = claim("k", Recover::Retry);
    won(&stores.old, &first).await;
    assert_eq!(retried(&stores.both, "k").await, Claimed::InFlight);
    assert_eq!(complete(&stores.old, &first.owner, "done").await, Written::Accepted);
    assert_eq!(retried(&stores.both, "k").await, completed("done"));
    assert_eq!(verdict(&stores.both, &other_claim("k")).await, Claimed::Mismatch);
    assert!(is_free(&stores.new, &id("k")).await, "a replay writes nothing");
}

#[tokio::test]
async fn what_runs_or_is_done_in_both_is_so_for_who_uses_one_alone() {
    let stores = Stores::empty();
    let first = claim("k", Recover::Retry);
    won(&stores.both, &first).await;
    assert_eq!(retried(&stores.old, "k").await, Claimed::InFlight);
    assert_eq!(retried(&stores.new, "k").await, Claimed::InFlight);
    assert_eq!(complete(&stores.both, &first.owner, "done").await, Written::Accepted);
    assert_eq!(retried(&stores.old, "k").await, completed("done"));
    assert_eq!(retried(&stores.new, "k").await, completed("done"));
}

#[tokio::test]
async fn what_runs_in_the_new_store_leaves_no_claim_in_the_old_one() {
    let stores = Stores::empty();
    won(&stores.new, &claim("running", Recover::Retry)).await;
    assert_eq!(retried(&stores.both, "running").await, Claimed::InFlight);
    assert_eq!(verdict(&stores.both, &other_claim("running")).await, Claimed::Mismatch);
    assert!(is_free(&stores.old, &id("running")).await);

    let held = claim("held", Recover::Hold);
    won(&stores.new, &held).await;
    stores.elapse(LEASE);
    assert_eq!(verdict(&stores.both, &claim("held", Recover::Hold)).await, Claimed::Held);
    assert!(is_free(&stores.old, &id("held")).await);
    let listed = stores.both.held(None, 10).await.unwrap();
    assert_eq!(listed.iter().map(Held::owner).collect::<Vec<_>>(), [held.owner]);
}

#[tokio::test]
async fn what_is_done_in_the_new_store_is_replayed() {
    let stores = Stores::empty();
    let first = claim("k", Recover::Retry);
    won(&stores.new, &first).await;
    assert_eq!(complete(&stores.new, &first.owner, "done").await, Written::Accepted);
    assert_eq!(retried(&stores.both, "k").await, completed("done"));
}

#[tokio::test]
async fn executions_are_counted_over_both_stores() {
    for alone in ["old", "new"] {
        let stores = Stores::empty();
        let store = if alone == "old" { &stores.old } else { &stores.new };
        for _ in 0..2 {
            let failed = claim("k", Recover::Retry);
            won(store, &failed).await;
            assert_eq!(store.fail(&failed.owner, TTL).await.unwrap(), Written::Accepted);
        }
        let (_, number) = won(&stores.both, &claim("k", Recover::Retry)).await;
        assert_eq!(number, 3, "{alone}");
    }
}

/// It lost its lease in the old store alone, and somebody executes there who will never look into the
/// new one.
#[tokio::test]
async fn an_execution_that_was_taken_over_in_the_old_store_has_no_answer() {
    let stores = Stores::empty();
    let first = claim("k", Recover::Retry);
    won(&stores.both, &first).await;
    stores.old.advance(LEASE);
    let second = claim("k", Recover::Retry);
    won(&stores.old, &second).await;
    assert_eq!(stores.both.renew(&first.owner, LEASE).await.unwrap(), Written::Stale);
    let late = tokio::spawn({
        let (both, owner) = (stores.both.clone(), first.owner.clone());
        async move { complete(&both, &owner, "late").await }
    });
    assert_eq!(complete(&stores.old, &second.owner, "done").await, Written::Accepted);
    assert_eq!(late.await.unwrap(), Written::Stale);
    assert_eq!(retried(&stores.both, "k").await, completed("done"));
}

#[tokio::test]
async fn an_execution_that_was_taken_over_in_the_new_store_has_no_answer() {
    let stores = Stores::empty();
    let first = claim("k", Recover::Retry);
    won(&stores.both, &first).await;
    stores.new.advance(LEASE);
    let second = claim("k", Recover::Retry);
    won(&stores.new, &second).await;
    assert_eq!(stores.both.renew(&first.owner, LEASE).await.unwrap(), Written::Stale);
    assert_eq!(complete(&stores.both, &first.owner, "late").await, Written::Stale);
    assert_eq!(complete(&stores.new, &second.owner, "done").await, Written::Accepted);
    assert_eq!(retried(&stores.both, "k").await, Claimed::InFlight);
    stores.elapse(LEASE);
    assert_eq!(retried(&stores.both, "k").await, completed("done"));
}

/// Its claim lapsed in the old store, and was claimed there by somebody whom the new store refused.
#[tokio::test]
async fn an_answer_counts_although_its_claim_was_taken_back_in_the_old_store() {
    let stores = Stores::empty();
    let first = claim("k", Recover::Retry);
    won(&stores.both, &first).await;
    stores.old.advance(LEASE);
    assert_eq!(retried(&stores.both, "k").await, Claimed::InFlight);
    assert!(is_free(&stores.old, &id("k")).await);
    assert_eq!(complete(&stores.both, &first.owner, "done").await, Written::Accepted);
    assert_eq!(retried(&stores.old, "k").await, completed("done"));
    assert_eq!(verdict(&stores.both, &other_claim("k")).await, Claimed::Mismatch);
}

#[tokio::test]
async fn those_who_wait_learn_that_the_old_store_alone_has_the_answer() {
    let stores = Stores::empty();
    let first = claim("k", Recover::Retry);
    won(&stores.both, &first).await;
    let ids = [id("k")];
    assert_eq!(stores.both.not_in_flight(&ids).await.unwrap(), []);
    stores.old.advance(LEASE);
    assert_eq!(stores.both.not_in_flight(&ids).await.unwrap(), [], "the new one says that it runs");
    let second = claim("k", Recover::Retry);
    won(&stores.old, &second).await;
    assert_eq!(complete(&stores.old, &second.owner, "done").await, Written::Accepted);
    assert_eq!(stores.both.not_in_flight(&ids).await.unwrap(), ids);
}
