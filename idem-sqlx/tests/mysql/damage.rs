//! Rows that nobody of us wrote.

use idem_core::{Store, StoreError};

use crate::{
    common::{TTL, claim, id, response},
    database::Database,
};

async fn completed_then(sql: &'static str) -> (Database, impl Store) {
    let database = Database::fresh().await;
    let store = database.store().await;
    let first = claim("k");
    store.claim(&first).await.unwrap();
    let _ = store.complete(&first.owner, &response("paid"), TTL).await.unwrap();
    database.execute(sql).await;
    (database, store)
}

#[tokio::test]
async fn a_damaged_answer_is_an_error_and_is_never_replayed() {
    for sql in [
        "UPDATE idem SET status = 99",
        "UPDATE idem SET status = NULL",
        "UPDATE idem SET headers = 'x'",
        "UPDATE idem SET headers = NULL",
        "UPDATE idem SET state = 9",
    ] {
        let (_database, store) = completed_then(sql).await;
        let claimed = store.claim(&claim("k")).await;
        assert!(matches!(claimed, Err(StoreError::Damaged(_))), "{sql}: {claimed:?}");
        let read = store.get(&id("k")).await;
        assert!(matches!(read, Err(StoreError::Damaged(_))), "{sql}: {read:?}");
    }
}

#[tokio::test]
async fn a_damaged_record_is_an_error_to_read() {
    let (_database, store) = completed_then("UPDATE idem SET number = -1").await;
    let read = store.get(&id("k")).await;
    assert!(matches!(read, Err(StoreError::Damaged(_))), "{read:?}");
}

#[tokio::test]
async fn a_damaged_held_record_is_an_error_to_list() {
    let database = Database::fresh().await;
    let store = database.store().await;
    let first = claim("k");
    store.claim(&first).await.unwrap();
    let _ = store.hold(&first.owner).await.unwrap();
    assert_eq!(store.held(None, 10).await.unwrap().len(), 1);
    database.execute("UPDATE idem SET number = -1").await;
    let listed = store.held(None, 10).await;
    assert!(matches!(listed, Err(StoreError::Damaged(_))), "{listed:?}");
}
