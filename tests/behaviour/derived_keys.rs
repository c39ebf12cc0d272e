//! Keys that an endpoint derives from its requests.

use std::time::Duration;

use axum::{Json, Router, extract::State, routing};
use idem::{Attempt, idempotent};
use serde::Deserialize;

use crate::support::{App, Fault, Runs, Server, User, post};

#[derive(Deserialize)]
struct Conversation {
    participants: Vec<String>,
    title: Option<String>,
}

/// The same for the same people, in whichever order they were named.
fn participants_key(participants: &[String]) -> String {
    let mut participants: Vec<_> = participants.iter().map(|it| format!("{it:?}")).collect();
    participants.sort();
    participants.concat()
}

#[idempotent(scope = "user", key = "participants_key(&body.participants)")]
async fn open(
    State(runs): State<Runs>,
    user: User,
    attempt: Attempt,
    Json(body): Json<Conversation>,
) -> String {
    tokio::time::sleep(Duration::from_millis(20)).await;
    let _ = (attempt.key(), body.title);
    format!("{} {}", user.0, runs.add())
}

#[idempotent(
    scope = "user",
    key = participants_key(&body.participants),
    fingerprint = "json",
    query = true,
)]
async fn strict(State(runs): State<Runs>, user: User, Json(body): Json<Conversation>) -> String {
    format!("{} {} {}", user.0, body.participants.len(), runs.add())
}

#[idempotent(scope = "global", key = "(pair.0.as_str(), (&pair.1, 1))")]
async fn of_two(State(runs): State<Runs>, Json(pair): Json<(String, String)>) -> String {
    runs.add().to_string()
}

#[idempotent(scope = "global", operation = "shared")]
async fn shared_sent(State(runs): State<Runs>) -> String {
    runs.add().to_string()
}

#[idempotent(scope = "global", operation = "shared", key = "\"k\"")]
async fn shared_derived(State(runs): State<Runs>) -> String {
    runs.add().to_string()
}

#[idempotent(scope = "global", key = "body", recover = "hold")]
async fn held(body: String) -> String {
    panic!("on purpose");
}

fn routes() -> Router<App> {
    Router::new()
        .route("/open", routing::post(open))
        .route("/{org}/open", routing::post(open))
        .route("/strict", routing::post(strict))
        .route("/of-two", routing::post(of_two))
        .route("/shared", routing::post(shared_sent).put(shared_derived))
        .route("/held", routing::post(held))
}

const ANN_AND_BOB: &str = r#"{"participants":["ann","bob"]}"#;

#[tokio::test]
async fn the_same_intent_is_executed_once_without_any_header() {
    let server = Server::new(routes());
    let first = server.send(post("/open").json(ANN_AND_BOB)).await;
    assert_eq!((first.status, first.text()), (200, "ann 1"));
    let again = server.send(post("/open").json(r#"{"participants":["bob","ann"]}"#)).await;
    assert!(again.is_replay());
    assert_eq!(again.text(), "ann 1");
    let others = server.send(post("/open").json(r#"{"participants":["ann","cat"]}"#)).await;
    assert_eq!(others.text(), "ann 2");
    let bobs = server.send(post("/open").user("bob").json(ANN_AND_BOB)).await;
    assert_eq!(bobs.text(), "bob 3");
}

#[tokio::test]
async fn what_the_client_sends_as_a_key_is_not_read() {
    let server = Server::new(routes());
    server.send(post("/open").key("one").json(ANN_AND_BOB)).await;
    for key in ["another", "", "\"open"] {
        assert!(server.send(post("/open").key(key).json(ANN_AND_BOB)).await.is_replay(), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_of_one_intent_are_one_execution() {
    let server = Server::new(routes());
    let calls: Vec<_> = (0..50)
        .map(|i| tokio::spawn(server.send(post("/open").key(i.to_string()).json(ANN_AND_BOB))))
        .collect();
    for call in calls {
        let answer = call.await.unwrap();
        assert!(answer.text() == "ann 1" || answer.problem() == "in-flight", "{answer:?}");
    }
    assert_eq!(server.runs.count(), 1);
}

/// Its developer would look for a header that the endpoint does not read.
#[tokio::test(start_paused = true)]
async fn a_client_that_sent_no_key_is_not_told_to_send_one_again() {
    let server = Server::new(routes());
    let open = || server.send(post("/open").json(ANN_AND_BOB));
    let (one, other) = tokio::join!(open(), open());
    let in_flight = if one.status == 200 { other } else { one };
    server.store.fault("claim", Fault::Refused);
    let unavailable = open().await;
    server.store.repair();
    let panicked = server.send(post("/held").body("k")).await;
    let unknown = server.send(post("/held").body("k")).await;
    for (answer, problem) in [
        (in_flight, "in-flight"),
        (unavailable, "store-unavailable"),
        (panicked, "handler-panicked"),
        (unknown, "outcome-unknown"),
    ] {
        assert_eq!(answer.problem(), problem);
        assert!(!answer.text().contains("key"), "{}", answer.text());
    }
}

#[tokio::test]
async fn the_key_says_all_that_counts_but_the_path() {
    let server = Server::new(routes());
    let titled = r#"{"participants":["ann","bob"],"title":"lunch"}"#;
    server.send(post("/acme/open?a=1").json(ANN_AND_BOB)).await;
    assert!(server.send(post("/acme/open?a=2").json(titled)).await.is_replay());
    assert_eq!(server.send(post("/evil/open").json(titled)).await.problem(), "mismatch");
}

#[tokio::test]
async fn what_else_counts_may_be_said() {
    let server = Server::new(routes());
    server.send(post("/strict?a=1").json(ANN_AND_BOB)).await;
    assert!(server.send(post("/strict?a=1").json(ANN_AND_BOB)).await.is_replay());
    let titled = r#"{"participants":["ann","bob"],"title":"lunch"}"#;
    assert_eq!(server.send(post("/strict?a=1").json(titled)).await.problem(), "mismatch");
    assert_eq!(server.send(post("/strict?a=2").json(ANN_AND_BOB)).await.problem(), "mismatch");
}

#[tokio::test]
async fn the_parts_of_a_key_never_run_together() {
    let server = Server::new(routes());
    let alike = [r#"["a","b, (c"]"#, r#"["a, (b","c"]"#];
    for pair in [r#"["a","bc"]"#, r#"["ab","c"]"#, r#"["abc",""]"#].into_iter().chain(alike) {
        assert!(!server.send(post("/of-two").json(pair)).await.is_replay(), "{pair}");
        assert!(server.send(post("/of-two").json(pair)).await.is_replay(), "{pair}");
    }
}

#[tokio::test]
async fn a_key_that_was_sent_is_never_one_that_was_derived() {
    let server = Server::new(routes());
    assert_eq!(server.send(post("/shared").key("k")).await.text(), "1");
    assert_eq!(server.send(post("/shared").method("PUT")).await.text(), "2");
    assert!(server.send(post("/shared").method("PUT")).await.is_replay());
}

#[tokio::test]
async fn of_a_long_key_all_counts_and_the_beginning_is_shown() {
    let server = Server::new(routes());
    let long = "x\n".repeat(100_000);
    assert_eq!(server.send(post("/held").body(long.clone())).await.problem(), "handler-panicked");
    assert_eq!(server.send(post("/held").body(long.clone())).await.problem(), "outcome-unknown");
    let longer = format!("{long}!");
    assert_eq!(server.send(post("/held").body(longer)).await.problem(), "handler-panicked");
    for held in server.idem.held(None, 10).await.unwrap() {
        let key = held.id.key();
        assert!(key.starts_with("x\\u{a}x") && key.ends_with('…') && key.len() < 2_000, "{key}");
    }
}

#[tokio::test]
async fn a_request_that_is_rejected_leaves_its_key_free() {
    let server = Server::new(routes());
    assert_eq!(server.send(post("/open").anonymous().json(ANN_AND_BOB)).await.status, 401);
    assert_eq!(server.send(post("/open").json("{}")).await.status, 422);
    assert_eq!((server.runs.count(), server.store.arrived("claim")), (0, 0));
    assert_eq!(server.send(post("/open").json(ANN_AND_BOB)).await.text(), "ann 1");
}
