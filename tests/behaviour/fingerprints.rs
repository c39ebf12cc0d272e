//! The same key for another request is a mismatch.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::State,
    routing,
};
use futures_util::stream;
use idem::idempotent;
use serde::{Deserialize, Serialize, Serializer};

use crate::support::{App, Runs, Server, post};

#[derive(Deserialize)]
struct Order {
    amount: u32,
    note: Option<String>,
}

#[idempotent(scope = "global")]
async fn json(State(runs): State<Runs>, _: Bytes) -> String {
    tokio::time::sleep(Duration::from_millis(20)).await;
    runs.add().to_string()
}

#[idempotent(scope = "global", fingerprint = "bytes")]
async fn bytes(State(runs): State<Runs>, _: Bytes) -> String {
    runs.add().to_string()
}

#[idempotent(scope = "global", fingerprint = "none", query = false)]
async fn none(State(runs): State<Runs>, _: Bytes) -> String {
    runs.add().to_string()
}

#[idempotent(scope = "global", fingerprint = "order.amount")]
async fn expression(State(runs): State<Runs>, Json(order): Json<Order>) -> String {
    format!("{} {:?}", runs.add(), order.note)
}

#[idempotent(scope = "global", operation = "shared")]
async fn shared(State(runs): State<Runs>) -> String {
    runs.add().to_string()
}

/// A value that refuses to be written.
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

#[idempotent(scope = "global", fingerprint = "Unwritable")]
pub(crate) async fn unwritable(State(runs): State<Runs>) -> String {
    runs.add().to_string()
}

fn routes() -> Router<App> {
    Router::new()
        .route("/json", routing::post(json).put(json))
        .route("/bytes", routing::post(bytes))
        .route("/none", routing::post(none))
        .route("/expression", routing::post(expression))
        .route("/shared/{id}", routing::post(shared))
        .route("/unwritable", routing::post(unwritable))
        .nest("/{tenant}", Router::new().route("/shared/{id}", routing::post(shared)))
}

#[tokio::test]
async fn another_body_is_a_mismatch() {
    let server = Server::new(routes());
    server.send(post("/json").key("k").json(r#"{"a":1,"b":2}"#)).await;
    let reordered = server.send(post("/json").key("k").json("{ \"b\": 2, \"a\": 1 }")).await;
    assert!(reordered.is_replay());
    let other = server.send(post("/json").key("k").json(r#"{"a":1,"b":3}"#)).await;
    assert_eq!((other.status, other.problem().as_str()), (422, "mismatch"));
    assert_eq!(server.runs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_mismatch_is_told_before_in_flight() {
    let server = Server::new(routes());
    let running = tokio::spawn(server.send(post("/json").key("k").json("1")));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(server.send(post("/json").key("k").json("2")).await.problem(), "mismatch");
    assert_eq!(server.send(post("/json").key("k").json("1")).await.problem(), "in-flight");
    assert_eq!(running.await.unwrap().status, 200);
}

#[tokio::test]
async fn bytes_count_every_byte() {
    let server = Server::new(routes());
    let all: Vec<u8> = (0..=255).collect();
    server.send(post("/bytes").key("k").body(all.clone())).await;
    assert!(server.send(post("/bytes").key("k").body(all.clone())).await.is_replay());
    let mut other = all;
    other[128] ^= 1;
    assert_eq!(server.send(post("/bytes").key("k").body(other)).await.problem(), "mismatch");
    server.send(post("/bytes").key("l").json("{\"a\":1}")).await;
    assert_eq!(server.send(post("/bytes").key("l").json("{\"a\": 1}")).await.problem(), "mismatch");
}

/// However a body comes, and however large it is, it is compared as a whole.
#[tokio::test]
async fn a_large_body_is_the_same_in_one_piece_and_in_many() {
    let server = Server::new(routes());
    let text = format!(r#"{{"text":"{}","end":1}}"#, "x".repeat(1_000_000));
    let pieces = |text: &str, size: usize| {
        let pieces = text.as_bytes().chunks(size).map(<[u8]>::to_vec).map(Ok::<_, Infallible>);
        Body::from_stream(stream::iter(pieces.collect::<Vec<_>>()))
    };
    for path in ["/json", "/bytes"] {
        let send = |body: Body| {
            let json = post(path).key("k").header("content-type", "application/json");
            server.send(json.body(body))
        };
        send(text.clone().into()).await;
        for size in [1_000, 4_096, 65_536, 999_983] {
            assert!(send(pieces(&text, size)).await.is_replay(), "{path}: pieces of {size}");
        }
        let other = text.replace(r#""end":1"#, r#""end":2"#);
        for body in [other.clone().into(), pieces(&other, 4_096)] {
            assert_eq!(send(body).await.problem(), "mismatch", "{path}");
        }
    }
    assert_eq!(server.runs.count(), 2);
}

#[tokio::test]
async fn none_looks_at_neither_body_nor_query_but_at_the_path() {
    let server = Server::new(routes());
    server.send(post("/none?a=1").key("k").body("x")).await;
    assert!(server.send(post("/none?a=2").key("k").body("y")).await.is_replay());
}

#[tokio::test]
async fn the_query_is_part_of_the_request() {
    let server = Server::new(routes());
    server.send(post("/json?a=1").key("k")).await;
    assert!(server.send(post("/json?a=1").key("k")).await.is_replay());
    assert_eq!(server.send(post("/json?a=2").key("k")).await.problem(), "mismatch");
    assert_eq!(server.send(post("/json").key("k")).await.problem(), "mismatch");
}

#[tokio::test]
async fn an_expression_replaces_the_body() {
    let server = Server::new(routes());
    server.send(post("/expression").key("k").json(r#"{"amount":1,"note":"a"}"#)).await;
    let other_note = server.send(post("/expression").key("k").json(r#"{"amount":1}"#)).await;
    assert!(other_note.is_replay());
    let other = server.send(post("/expression").key("k").json(r#"{"amount":2}"#)).await;
    assert_eq!(other.problem(), "mismatch");
}

#[tokio::test]
async fn the_full_path_is_always_part_of_the_request() {
    let server = Server::new(routes());
    server.send(post("/acme/shared/1").key("k")).await;
    assert!(server.send(post("/acme/shared/1").key("k")).await.is_replay());
    for other in ["/acme/shared/2", "/evil/shared/1", "/shared/1"] {
        assert_eq!(server.send(post(other).key("k")).await.problem(), "mismatch", "{other}");
    }
}

#[tokio::test]
async fn route_and_method_are_the_operation() {
    let server = Server::new(routes());
    assert_eq!(server.send(post("/json").key("k")).await.text(), "1");
    assert_eq!(server.send(post("/json").method("PUT").key("k")).await.text(), "2");
    assert_eq!(server.send(post("/bytes").key("k")).await.text(), "3");
}

#[tokio::test]
async fn a_value_that_cannot_be_written_is_a_500_and_nothing_runs() {
    let server = Server::new(routes());
    let answer = server.send(post("/unwritable").key("k")).await;
    assert_eq!((answer.status, answer.problem().as_str()), (500, "fingerprint-failed"));
    assert_eq!((server.runs.count(), server.store.arrived("claim")), (0, 0));
}
