//! The record is gone, and the table says no.

use std::time::Instant;

use demo::testing::PATIENCE;
use reqwest::StatusCode;

use crate::{
    app::{Donations, code, is_duplicate, setup},
    tables,
};

#[tokio::test]
async fn when_the_record_was_lost_the_constraint_refuses_a_retry() {
    let setup = setup();
    let app = setup.start();
    let first = app.give("k").await;
    tables::execute(&setup.database_url(), "DELETE FROM idem").await;
    let retry = app.give("k").await;
    assert!(is_duplicate(&retry), "{retry:?}");
    assert!(!retry.replayed());
    let again = app.give("k").await;
    assert!(is_duplicate(&again) && again.replayed(), "the refusal is the answer to the key now");
    assert_eq!(app.donations().await, [first.body["data"].clone()]);
}

#[tokio::test]
async fn when_the_record_has_expired_the_constraint_refuses_a_retry() {
    let app = setup().variable("TTL", "1s").start();
    let first = app.give("k").await;
    assert_eq!(first.status, StatusCode::CREATED);
    let start = Instant::now();
    let late = loop {
        let retry = app.give("k").await;
        if !retry.replayed() {
            break retry;
        }
        assert_eq!(retry.content(), first.content());
        assert!(start.elapsed() < PATIENCE, "it does not expire");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert!(is_duplicate(&late), "{late:?}");
    assert_eq!(app.donations().await.len(), 1);
}

#[tokio::test]
async fn another_unique_index_that_refuses_is_not_taken_for_a_duplicate() {
    let setup = setup();
    let app = setup.start();
    let create = "CREATE UNIQUE INDEX one_memo ON donations (memo)";
    tables::execute(&setup.database_url(), create).await;
    assert_eq!(app.give("k").await.status, StatusCode::CREATED);
    let other = app.give("other").await;
    let said = (other.status, code(&other));
    assert_eq!(said, (StatusCode::INTERNAL_SERVER_ERROR, "DATABASE_FAILED"));
    assert_eq!(app.donations().await.len(), 1);
    tables::execute(&setup.database_url(), "DROP INDEX one_memo").await;
    let retry = app.give("other").await;
    assert_eq!((retry.status, retry.replayed()), (StatusCode::CREATED, false), "it was no answer");
}

#[tokio::test]
async fn rows_without_a_key_stay_possible() {
    let setup = setup();
    let app = setup.start();
    app.give("k").await;
    let insert = "INSERT INTO donations (sender_id, receiver_id, amount_cents) VALUES (1, 2, 1250)";
    for _ in 0..3 {
        tables::execute(&setup.database_url(), insert).await;
    }
    assert_eq!(app.donations().await.len(), 4);
    let keys = tables::keys(&setup.database_url()).await;
    assert!(keys[0].as_ref().is_some_and(|it| it != "k"), "never what the client sent");
    assert_eq!(keys[1..], [None, None, None]);
}
