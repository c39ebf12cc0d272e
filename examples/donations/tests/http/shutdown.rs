//! SIGTERM.

use reqwest::StatusCode;

use crate::app::{Donations, setup};

#[tokio::test]
async fn what_runs_is_finished_answered_and_recorded_before_the_process_exits_with_0() {
    let setup = setup().variable("HANDLER_DELAY_MS", "1000");
    let app = setup.start();
    let waiting = app.start_giving("waiting").await;
    app.terminate();
    assert_eq!(waiting.await.unwrap().status, StatusCode::CREATED);
    assert!(app.ended().await.success());
    let app = setup.start();
    assert!(app.give("waiting").await.replayed());
    app.start_giving("abandoned").await.abort();
    app.terminate();
    assert!(app.ended().await.success());
    let app = setup.start();
    assert!(app.give("abandoned").await.replayed());
    assert_eq!(app.donations().await.len(), 2);
}
