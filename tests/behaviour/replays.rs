//! One execution, and the same answer for everyone who asks with the same key.

use std::time::Duration;

use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing,
};
use idem::{Store, idempotent};

use crate::support::{Answer, App, Runs, Server, User, post};

#[idempotent(scope = "user")]
async fn create(State(runs): State<Runs>, user: User) -> impl IntoResponse {
    tokio::time::sleep(Duration::from_millis(20)).await;
    let n = runs.add();
    (StatusCode::CREATED, [(header::LOCATION, format!("/{n}"))], format!("{} {n}", user.0))
}

#[idempotent(scope = "global", ttl = "forever")]
async fn kept(State(runs): State<Runs>, Path(status): Path<u16>) -> impl IntoResponse {
    (StatusCode::from_u16(status).unwrap(), runs.add().to_string())
}

fn server() -> Server {
    Server::new(routes())
}

fn routes() -> Router<App> {
    Router::new().route("/", routing::post(create)).route("/kept/{status}", routing::post(kept))
}

#[tokio::test]
async fn a_replay_has_the_same_status_headers_and_bytes_and_says_that_it_is_one() {
    let server = server();
    let first = server.send(post("/").key("k")).await;
    assert_eq!((first.status, first.text()), (201, "ann 1"));
    assert!(!first.is_replay());
    let mut second = server.send(post("/").key("k")).await;
    assert!(second.is_replay());
    second.headers.remove("idempotency-replayed");
    assert_eq!(first, second);
    assert_eq!(server.runs.count(), 1);
}

#[tokio::test]
async fn another_key_is_another_execution() {
    let server = server();
    assert_eq!(server.send(post("/").key("a")).await.text(), "ann 1");
    assert_eq!(server.send(post("/").key("b")).await.text(), "ann 2");
    assert_eq!(server.send(post("/").key("A")).await.text(), "ann 3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_concurrent_duplicates_are_one_execution() {
    let server = server();
    let calls: Vec<_> = (0..200).map(|_| tokio::spawn(server.send(post("/").key("k")))).collect();
    let mut answers: Vec<Answer> = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    assert_eq!(server.runs.count(), 1);
    let created: Vec<_> = answers.iter().filter(|it| it.status == 201).collect();
    assert!(created.iter().any(|it| !it.is_replay()));
    assert!(created.iter().all(|it| it.text() == "ann 1"));
    for answer in answers.iter().filter(|it| it.status != 201) {
        assert_eq!(answer.problem(), "in-flight");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert_eq!(server.send(post("/").key("k")).await.text(), "ann 1");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_does_not_stop_the_execution() {
    let server = server();
    let call = server.send(post("/").key("k"));
    assert!(tokio::time::timeout(Duration::from_millis(5), call).await.is_err());
    assert_eq!(server.send(post("/").key("k")).await.problem(), "in-flight");
    server.idem.drain().await;
    let retry = server.send(post("/").key("k")).await;
    assert!(retry.is_replay());
    assert_eq!((retry.text(), server.runs.count()), ("ann 1", 1));
}

#[tokio::test]
async fn after_the_ttl_the_key_is_free() {
    let server = server();
    server.send(post("/").key("k")).await;
    server.store.memory.advance(Duration::from_hours(24) - Duration::from_secs(5));
    assert!(server.send(post("/").key("k")).await.is_replay());
    server.store.memory.advance(Duration::from_secs(5));
    assert_eq!(server.send(post("/").key("k")).await.text(), "ann 2");
}

const ABOUT_100_YEARS: Duration = Duration::from_hours(99 * 365 * 24);

#[tokio::test]
async fn what_is_kept_forever_is_replayed_for_100_years() {
    let server = server();
    server.send(post("/kept/201").key("k")).await;
    server.store.memory.advance(ABOUT_100_YEARS);
    assert_eq!(server.store.sweep(100).await.unwrap(), 0);
    assert!(server.send(post("/kept/201").key("k")).await.is_replay());
    let other = server.send(post("/kept/201").key("k").body("x")).await;
    assert_eq!(other.problem(), "mismatch");
    assert_eq!(server.runs.count(), 1);
}

#[tokio::test]
async fn an_engine_may_keep_what_says_nothing_else_forever() {
    let server = Server::with(routes(), idem::Builder::ttl_forever);
    server.send(post("/").key("k")).await;
    server.store.memory.advance(ABOUT_100_YEARS);
    assert!(server.send(post("/").key("k")).await.is_replay());
}

#[tokio::test]
async fn what_failed_is_not_kept_forever() {
    let server = server();
    server.send(post("/kept/503").key("k")).await;
    server.store.memory.advance(Duration::from_hours(23));
    let other = server.send(post("/kept/503").key("k").body("x")).await;
    assert_eq!(other.problem(), "mismatch");
    server.store.memory.advance(Duration::from_hours(1));
    assert_eq!(server.send(post("/kept/503").key("k").body("x")).await.text(), "2");
}
