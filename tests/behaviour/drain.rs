//! Shutting down.

use std::time::Duration;

use axum::{Router, extract::State, routing};
use idem::idempotent;
use tokio::time::{sleep, timeout};

use crate::support::{App, Fault, Runs, Server, post};

#[idempotent(scope = "global")]
async fn slow(State(runs): State<Runs>) -> String {
    sleep(Duration::from_mins(1)).await;
    runs.add().to_string()
}

fn routes() -> Router<App> {
    Router::new().route("/", routing::post(slow))
}

#[tokio::test(start_paused = true)]
async fn drain_waits_until_executions_are_recorded() {
    let server = Server::new(routes());
    let abandoned = server.send(post("/").key("k"));
    assert!(timeout(Duration::from_secs(1), abandoned).await.is_err());
    server.idem.drain().await;
    assert_eq!((server.runs.count(), server.store.arrived("complete")), (1, 1));
    assert!(server.send(post("/").key("k")).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_records_that_are_still_to_be_written() {
    let server = Server::new(routes());
    server.store.fault("complete", Fault::Refused);
    server.send(post("/").key("k")).await;
    assert!(timeout(Duration::from_mins(1), server.idem.drain()).await.is_err());
    server.store.repair();
    server.idem.drain().await;
    assert!(server.send(post("/").key("k")).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn the_sweeper_deletes_what_expired_and_stops_on_drain() {
    let server = Server::new(routes());
    server.idem.spawn_sweeper(Duration::from_mins(10));
    server.send(post("/").key("k")).await;
    server.store.fault("sweep", Fault::Refused);
    sleep(Duration::from_mins(30)).await;
    server.store.repair();
    sleep(Duration::from_hours(25)).await;
    assert!(format!("{:?}", server.store.memory).contains("records: 0"));
    timeout(Duration::from_secs(1), server.idem.drain()).await.expect("the sweeper stops");
    let swept = server.store.arrived("sweep");
    sleep(Duration::from_hours(1)).await;
    assert_eq!(server.store.arrived("sweep"), swept);
}
