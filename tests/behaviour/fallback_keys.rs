//! Keys that an endpoint derives when its client sends none.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::{Json, Router, extract::State, routing};
use idem::{Attempt, idempotent};
use serde::Deserialize;

use crate::support::{App, Runs, Server, User, post};

#[derive(Deserialize)]
struct Project {
    name: String,
    note: Option<String>,
}

static DAY: AtomicU32 = AtomicU32::new(1);

/// The window in which two projects of one name are one.
fn today() -> u32 {
    DAY.load(Ordering::SeqCst)
}

#[idempotent(scope = "user", fallback_key = "(user, &project.name, today())")]
async fn by_day(State(runs): State<Runs>, user: User, Json(project): Json<Project>) -> String {
    format!("{} {} {}", user.0, project.name, runs.add())
}

#[idempotent(scope = "user", fallback_key = &project.name, key_format = "uuid")]
async fn create(
    State(runs): State<Runs>,
    user: User,
    attempt: Attempt,
    Json(project): Json<Project>,
) -> String {
    let _ = (attempt.key(), project.note);
    format!("{} {} {}", user.0, project.name, runs.add())
}

#[idempotent(scope = "global", fallback_key = "read_only_without_a_key()")]
async fn lazy(State(runs): State<Runs>) -> String {
    runs.add().to_string()
}

fn read_only_without_a_key() -> &'static str {
    panic!("a key was sent");
}

#[idempotent(scope = "global", operation = "shared", key = "\"k\"")]
async fn derived(State(runs): State<Runs>) -> String {
    runs.add().to_string()
}

#[idempotent(scope = "global", operation = "shared", fallback_key = "\"k\"", fingerprint = "none")]
async fn fallback(State(runs): State<Runs>) -> String {
    runs.add().to_string()
}

fn routes() -> Router<App> {
    Router::new()
        .route("/by-day", routing::post(by_day))
        .route("/create", routing::post(create))
        .route("/lazy", routing::post(lazy))
        .route("/shared", routing::post(derived).put(fallback))
}

const V4: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";

#[tokio::test]
async fn without_a_key_the_same_intent_is_executed_once_in_its_window() {
    let server = Server::new(routes());
    let send = |user: &str| server.send(post("/by-day").user(user).json(r#"{"name":"a"}"#));
    assert_eq!(send("ann").await.text(), "ann a 1");
    assert!(send("ann").await.is_replay());
    assert_eq!(send("bob").await.text(), "bob a 2");
    DAY.store(2, Ordering::SeqCst);
    assert_eq!(send("ann").await.text(), "ann a 3");
    assert!(send("ann").await.is_replay());
}

#[tokio::test]
async fn a_key_that_was_sent_counts_instead() {
    let server = Server::new(routes());
    let project = r#"{"name":"a"}"#;
    assert_eq!(server.send(post("/create").json(project)).await.text(), "ann a 1");
    assert_eq!(server.send(post("/create").key(V4).json(project)).await.text(), "ann a 2");
    assert!(server.send(post("/create").key(V4).json(project)).await.is_replay());
    let another = server.send(post("/create").key(V4).json(r#"{"name":"b"}"#)).await;
    assert_eq!(another.problem(), "mismatch");
    assert_eq!(server.send(post("/create").json(project)).await.text(), "ann a 1");
}

#[tokio::test]
async fn a_key_that_was_sent_must_be_acceptable() {
    let server = Server::new(routes());
    for key in ["", "k"] {
        let answer = server.send(post("/create").key(key).json(r#"{"name":"a"}"#)).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "key-invalid"), "{key}");
    }
    assert_eq!((server.runs.count(), server.store.arrived("claim")), (0, 0));
}

#[tokio::test]
async fn the_rest_of_the_request_counts_as_with_a_key_that_was_sent() {
    let server = Server::new(routes());
    server.send(post("/create").json(r#"{"name":"a"}"#)).await;
    let other = server.send(post("/create").json(r#"{"name":"a","note":"b"}"#)).await;
    assert_eq!((other.status, other.problem().as_str()), (422, "mismatch"));
    let other = server.send(post("/create?a=1").json(r#"{"name":"a"}"#)).await;
    assert_eq!(other.problem(), "mismatch");
}

#[tokio::test]
async fn the_fallback_is_read_only_where_it_counts() {
    let server = Server::new(routes());
    assert_eq!(server.send(post("/lazy").key("k")).await.text(), "1");
}

#[tokio::test]
async fn keys_of_the_three_sources_never_meet() {
    let server = Server::new(routes());
    assert_eq!(server.send(post("/shared")).await.text(), "1");
    assert_eq!(server.send(post("/shared").method("PUT")).await.text(), "2");
    assert_eq!(server.send(post("/shared").method("PUT").key("k")).await.text(), "3");
    for call in [post("/shared"), post("/shared").method("PUT")] {
        assert!(server.send(call).await.is_replay());
    }
}
