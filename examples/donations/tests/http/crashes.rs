//! kill -9, and what a retry finds afterwards.

use std::time::Duration;

use reqwest::StatusCode;

use crate::app::{Donations, setup};

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let setup = setup();
    let app = setup.start();
    let first = app.give("k").await;
    app.kill();
    let app = setup.start();
    let retry = app.give("k").await;
    assert!(retry.replayed());
    assert_eq!(first.content(), retry.content());
    assert_eq!(app.donations().await.len(), 1);
}

#[tokio::test]
async fn a_donation_that_was_killed_at_work_is_made_by_a_retry_at_once() {
    let setup = setup().variable("HANDLER_DELAY_MS", "600000");
    let app = setup.start();
    app.start_giving("k").await.abort();
    app.kill();
    let app = setup.variable("HANDLER_DELAY_MS", "0").start();
    assert!(app.donations().await.is_empty());
    let answer = app.give("k").await;
    assert_eq!((answer.status, answer.replayed()), (StatusCode::CREATED, false), "{answer:?}");
    assert_eq!(app.donations().await, [answer.body["data"].clone()]);
}

#[tokio::test]
async fn killed_at_whatever_moment_a_donation_is_made_once_and_in_the_end_is_a_success() {
    let setup = setup();
    let mut made = Vec::new();
    for i in 0..20_u32 {
        let (app, key) = (setup.start(), format!("gift-{i}"));
        let killed = tokio::time::timeout(Duration::from_millis(2) * i, app.give(&key)).await;
        app.kill();
        let app = setup.start();
        let answer = app.give_until_answered(&key).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        assert!(killed.is_err() || answer.replayed(), "it was acknowledged");
        made.insert(0, answer.body["data"].clone());
        assert_eq!(app.donations().await, made);
    }
}
