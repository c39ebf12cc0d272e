//! What a retry finds after an execution that did not end well.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing,
};
use idem::{Attempt, idempotent};

use crate::support::{App, Runs, Server, post};

async fn fails_first(runs: &Runs, attempt: &Attempt) -> Response {
    tokio::task::yield_now().await;
    match runs.add() {
        1 => panic!("the first execution panics"),
        2 => StatusCode::BAD_GATEWAY.into_response(),
        _ => format!("{} {}", attempt.number(), attempt.key()).into_response(),
    }
}

#[idempotent(scope = "global", failed_ttl = "1h")]
async fn retried(State(runs): State<Runs>, attempt: Attempt) -> Response {
    fails_first(&runs, &attempt).await
}

#[idempotent(scope = "global", recover = "hold")]
async fn held(State(runs): State<Runs>, attempt: Attempt) -> Response {
    fails_first(&runs, &attempt).await
}

#[idempotent(scope = "global", recover = "hold")]
async fn fences(attempt: Attempt) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, attempt.fence().to_string())
}

fn routes() -> Router<App> {
    Router::new()
        .route("/retried", routing::post(retried))
        .route("/held", routing::post(held))
        .route("/fences", routing::post(fences))
}

#[tokio::test]
async fn after_a_panic_or_an_answer_that_is_not_final_a_retry_executes() {
    let server = Server::new(routes());
    let panicked = server.send(post("/retried").key("k")).await;
    assert_eq!((panicked.status, panicked.problem().as_str()), (500, "handler-panicked"));
    assert!(!panicked.text().contains("the first execution"), "a panic's text is not for clients");
    let other = server.send(post("/retried").key("k").body("x")).await;
    assert_eq!(other.problem(), "mismatch");
    assert_eq!(server.send(post("/retried").key("k")).await.status, 502);
    let done = server.send(post("/retried").key("k")).await;
    assert!(done.text().starts_with("3 "), "the third attempt: {}", done.text());
    assert!(server.send(post("/retried").key("k")).await.is_replay());
}

#[tokio::test]
async fn a_failed_record_is_forgotten_after_its_own_ttl() {
    let server = Server::new(routes());
    server.send(post("/retried").key("k")).await;
    server.store.memory.advance(Duration::from_hours(1));
    let other_request = server.send(post("/retried").key("k").body("x")).await;
    assert_eq!(other_request.status, 502);
}

#[tokio::test]
async fn under_hold_a_panic_leaves_the_outcome_unknown_for_good() {
    let server = Server::new(routes());
    let panicked = server.send(post("/held").key("k")).await;
    assert_eq!((panicked.status, panicked.problem().as_str()), (500, "handler-panicked"));
    for wait in [Duration::ZERO, Duration::from_hours(24 * 365)] {
        server.store.memory.advance(wait);
        let retry = server.send(post("/held").key("k")).await;
        assert_eq!((retry.status, retry.problem().as_str()), (409, "outcome-unknown"));
    }
    assert_eq!(server.runs.count(), 1);
}

#[tokio::test]
async fn under_hold_a_returned_answer_that_is_not_final_may_be_retried() {
    let server = Server::new(routes());
    server.runs.add();
    assert_eq!(server.send(post("/held").key("k")).await.status, 502);
    assert!(server.send(post("/held").key("k")).await.text().starts_with("2 "));
}

#[tokio::test]
async fn fences_grow_with_each_claim() {
    let server = Server::new(routes());
    let mut last = 0;
    for _ in 0..3 {
        let fence: i64 = server.send(post("/fences").key("k")).await.text().parse().unwrap();
        assert!(fence > last);
        last = fence;
    }
}
