//! An `Attempt` at any place among the arguments.

use axum::{Json, Router, http::Method, routing::post};
use idem::{Attempt, idempotent};

use crate::support::{App, call, execution, replayed, replays};

#[idempotent(scope = "global")]
async fn first(attempt: Attempt, method: Method, body: String) -> String {
    format!("{} {} {method} {body}", execution(), attempt.number())
}

#[idempotent(scope = "global")]
async fn middle(method: Method, attempt: Attempt, body: String) -> String {
    format!("{} {} {method} {body}", execution(), attempt.number())
}

#[idempotent(scope = "body")]
async fn before_last(attempt: Attempt, Json(body): Json<String>) -> String {
    format!("{} {} POST {body}", execution(), attempt.number())
}

#[idempotent(scope = "global")]
async fn last(method: Method, attempt: Attempt) -> String {
    format!("{} {} {method} \"x\"", execution(), attempt.number())
}

#[idempotent(scope = "global")]
async fn only(attempt: Attempt) -> String {
    format!("{} {} POST \"x\"", execution(), attempt.number())
}

#[tokio::test]
async fn an_attempt_stands_anywhere() {
    for handler in [post(first), post(middle), post(last), post(only)] {
        let answer = replays(handler, call("/").json("\"x\"")).await;
        assert!(answer.text().ends_with(" 1 POST \"x\""), "{answer:?}");
    }
    let answer = replays(post(before_last), call("/").json("\"x\"")).await;
    assert!(answer.text().ends_with(" 1 POST x"), "{answer:?}");
}

#[idempotent(scope = "global")]
async fn twice(one: Attempt, other: Attempt, optional: Option<Attempt>) -> String {
    let keys = [Some(one.key()), Some(other.key()), optional.map(|it| it.key())];
    format!("{} {}", execution(), keys[0] == keys[1] && keys[1] == keys[2])
}

#[tokio::test]
async fn attempts_of_one_execution_are_the_same() {
    assert!(replays(post(twice), call("/")).await.text().ends_with(" true"));
}

#[idempotent(scope = "global", required = false)]
async fn optional(attempt: Option<Attempt>, body: String) -> String {
    format!("{} {} {body}", execution(), attempt.is_some())
}

#[tokio::test]
async fn without_a_key_there_is_no_attempt() {
    let app = Router::new().route("/", post(optional)).with_state(App::new());
    let guarded = replayed(&app, call("/").body("text/plain", "x")).await;
    assert!(guarded.text().ends_with(" true x"));
    let unguarded = call("/").without_key().body("text/plain", "x");
    let first = unguarded.clone().send(&app).await;
    assert!(first.text().ends_with(" false x"));
    let second = unguarded.send(&app).await;
    assert!(!second.is_replay());
    assert_ne!(first.body, second.body, "it executed again");
}
