//! A request that is rejected before the claim leaves nothing behind.

use axum::{Json, Router, body::Body, body::Bytes, extract::State, routing};
use idem::idempotent;

use crate::support::{App, Runs, Server, User, post};

#[idempotent(scope = "user")]
async fn json(State(runs): State<Runs>, user: User, Json(amount): Json<u32>) -> String {
    format!("{} {} {amount}", runs.add(), user.0)
}

#[idempotent(scope = "user", max_body = "1KiB")]
async fn small(State(runs): State<Runs>, user: User, body: Bytes) -> String {
    format!("{} {} {}", runs.add(), user.0, body.len())
}

#[idempotent(scope = "global", max_body = "3MiB")]
async fn big(State(runs): State<Runs>, body: Bytes) -> String {
    format!("{} {}", runs.add(), body.len())
}

fn routes() -> Router<App> {
    Router::new()
        .route("/json", routing::post(json))
        .route("/small", routing::post(small))
        .route("/big", routing::post(big))
}

#[tokio::test]
async fn rejections_are_returned_untouched_and_the_key_stays_free() {
    let server = Server::new(routes());
    let unauthenticated = server.send(post("/json").anonymous().key("k").json("1")).await;
    assert_eq!((unauthenticated.status, unauthenticated.text()), (401, ""));
    for (call, status) in [
        (post("/json").key("k").body("1"), 415),
        (post("/json").key("k").json("no"), 400),
        (post("/json").key("k").json("\"text\""), 422),
        (post("/json").key("k").json(&"1".repeat(3 << 20)), 413),
        (post("/small").key("k").body(vec![0; 1025]), 413),
    ] {
        assert_eq!(server.send(call).await.status, status);
    }
    assert_eq!((server.runs.count(), server.store.arrived("claim")), (0, 0));
    assert_eq!(server.send(post("/json").key("k").json("7")).await.text(), "1 ann 7");
}

#[tokio::test]
async fn authentication_comes_before_the_body_is_read() {
    let server = Server::new(routes());
    let unread = Body::from_stream(stream_that_must_not_be_read());
    let answer = server.send(post("/small").anonymous().key("k").body(unread)).await;
    assert_eq!(answer.status, 401);
}

fn stream_that_must_not_be_read()
-> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> + Send {
    futures_util::stream::poll_fn(|_| panic!("the body was read"))
}

#[tokio::test]
async fn authentication_is_not_skipped_on_replays() {
    let server = Server::new(routes());
    server.send(post("/small").key("k")).await;
    assert!(server.send(post("/small").key("k")).await.is_replay());
    assert_eq!(server.send(post("/small").anonymous().key("k")).await.status, 401);
}

#[tokio::test]
async fn the_limit_is_the_endpoints_the_engines_or_the_routers() {
    let server = Server::new(routes());
    let two = || vec![0; 2 << 20];
    assert_eq!(server.send(post("/big").key("a").body(vec![0; 3 << 20])).await.text(), "1 3145728");
    let over = server.send(post("/big").key("b").body(vec![0; (3 << 20) + 1])).await;
    assert_eq!((over.status, over.problem().as_str()), (413, "body-too-large"));
    let limited = Server::with(routes(), |it| it.max_body(10));
    assert_eq!(limited.send(post("/json").key("k").json("12345678901")).await.status, 413);
    assert_eq!(limited.send(post("/big").key("k").body(two())).await.status, 200);
    let raised = Server::new(routes().layer(axum::extract::DefaultBodyLimit::max(3 << 20)));
    let spaces = format!("{}1", " ".repeat(2 << 20));
    assert_eq!(raised.send(post("/json").key("k").json(&spaces)).await.status, 200);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_400() {
    let server = Server::new(routes());
    let broken = futures_util::stream::iter([
        Ok(Bytes::from_static(b"half")),
        Err(std::io::Error::other("gone")),
    ]);
    let answer = server.send(post("/small").key("k").body(Body::from_stream(broken))).await;
    assert_eq!((answer.status, answer.problem().as_str()), (400, "body-unreadable"));
    assert_eq!(server.store.arrived("claim"), 0);
}
