//! Which keys are accepted, and what is said of those that are not.

use axum::{Router, extract::State, http::HeaderName, routing};
use idem::{Attempt, idempotent};

use crate::support::{App, Runs, Server, post};

const V4: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";
const V7: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[idempotent(scope = "global")]
async fn any(State(runs): State<Runs>) -> String {
    runs.add().to_string()
}

#[idempotent(scope = "global", key_format = "uuid")]
async fn uuid(State(runs): State<Runs>) -> String {
    runs.add().to_string()
}

#[idempotent(scope = "global", key_format = "uuid4")]
async fn uuid4(State(runs): State<Runs>) -> String {
    runs.add().to_string()
}

#[idempotent(scope = "global", required = false)]
async fn optional(State(runs): State<Runs>, attempt: Option<Attempt>) -> String {
    format!("{} {}", runs.add(), attempt.is_some())
}

#[idempotent(scope = "global", header = "X-Request-Id")]
async fn own_header(State(runs): State<Runs>) -> String {
    runs.add().to_string()
}

fn routes() -> Router<App> {
    Router::new()
        .route("/any", routing::post(any))
        .route("/uuid", routing::post(uuid))
        .route("/uuid4", routing::post(uuid4))
        .route("/optional", routing::post(optional))
        .route("/own-header", routing::post(own_header))
}

#[tokio::test]
async fn a_missing_key_is_a_400_that_names_the_header() {
    let server = Server::new(routes());
    let answer = server.send(post("/any")).await;
    assert_eq!((answer.status, answer.problem().as_str()), (400, "key-missing"));
    assert!(answer.text().contains("idempotency-key"));
    assert_eq!(server.runs.count(), 0);
}

#[tokio::test]
async fn without_a_key_an_optional_endpoint_runs_unguarded() {
    let server = Server::new(routes());
    assert_eq!(server.send(post("/optional")).await.text(), "1 false");
    assert_eq!(server.send(post("/optional")).await.text(), "2 false");
    assert_eq!(server.store.arrived("claim"), 0);
    assert_eq!(server.send(post("/optional").key("k")).await.text(), "3 true");
    assert!(server.send(post("/optional").key("k")).await.is_replay());
    let malformed = server.send(post("/optional").key("")).await;
    assert_eq!(malformed.problem(), "key-invalid");
}

#[tokio::test]
async fn quotes_make_no_other_key() {
    let server = Server::new(routes());
    server.send(post("/any").key("k")).await;
    assert!(server.send(post("/any").key("\"k\"")).await.is_replay());
}

#[tokio::test]
async fn a_malformed_key_is_a_400_that_says_why_and_does_not_repeat_the_key() {
    let server = Server::new(routes());
    let long = "x".repeat(256);
    let cases: [(&[u8], &str); 7] = [
        (b"", "empty"),
        (b"\"\"", "empty"),
        (long.as_bytes(), "at most 255"),
        (b"\"open", "quote"),
        (b"\"a\";b", "quote"),
        (b"caf\xc3\xa9-secret", "ASCII"),
        (b"secret\ttab", "ASCII"),
    ];
    for (key, why) in cases {
        let answer = server.send(post("/any").key(key)).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "key-invalid"), "{key:?}");
        assert!(answer.text().contains(why), "{}", answer.text());
        assert!(!answer.text().contains("secret") && !answer.text().contains("xxx"));
    }
    assert_eq!(server.send(post("/any").key("y".repeat(255))).await.status, 200);
    assert_eq!((server.runs.count(), server.store.arrived("claim")), (1, 1));
}

#[tokio::test]
async fn two_header_lines_are_a_400() {
    let server = Server::new(routes());
    let answer = server.send(post("/any").key("a").key("a")).await;
    assert_eq!(answer.problem(), "key-invalid");
    assert!(answer.text().contains("more than once"));
}

#[tokio::test]
async fn key_formats_are_enforced() {
    let server = Server::new(routes());
    assert_eq!(server.send(post("/uuid").key(V7)).await.status, 200);
    assert_eq!(server.send(post("/uuid4").key(V4)).await.status, 200);
    for (path, key) in [("/uuid", "k"), ("/uuid4", V7), ("/uuid4", "k")] {
        let answer = server.send(post(path).key(key)).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "key-invalid"));
        assert!(answer.text().contains("UUID"));
    }
}

#[tokio::test]
async fn the_header_is_the_endpoints_or_the_engines() {
    let server =
        Server::with(routes(), |it| it.key_header(HeaderName::from_static("x-idempotency")));
    assert!(server.send(post("/any").key("k")).await.text().contains("x-idempotency"));
    assert_eq!(server.send(post("/any").header("X-Idempotency", "k")).await.text(), "1");
    assert_eq!(server.send(post("/own-header").header("x-request-id", "k")).await.text(), "2");
    assert!(server.send(post("/own-header").header("x-request-id", "k")).await.is_replay());
}
