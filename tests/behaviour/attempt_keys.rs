//! What `Attempt::key` gives, computed where there is no attempt.

use axum::{Router, http::HeaderValue, routing};
use idem::{
    Attempt, DerivedKey, IdempotencyKey, KeyFormat, RecordId, Scope, ScopeValue, idempotent,
};

use crate::support::{App, Server, User, post};

#[idempotent(scope = "user")]
async fn by_route(user: User, attempt: Attempt) -> String {
    let _ = user;
    attempt.key()
}

#[idempotent(scope = "(user, 7)", operation = "donations.create")]
async fn by_name(user: User, attempt: Attempt) -> String {
    let _ = user;
    attempt.key()
}

#[idempotent(scope = "global", operation = "donations.create")]
async fn of_all(attempt: Attempt) -> String {
    attempt.key()
}

#[idempotent(scope = "user", operation = "of-body", key = "(&body, 1)")]
async fn of_body(user: User, attempt: Attempt, body: String) -> String {
    let _ = (user, body);
    attempt.key()
}

#[idempotent(scope = "user", operation = "of-body", fallback_key = "(&body, 1)")]
async fn of_body_or_header(user: User, attempt: Attempt, body: String) -> String {
    let _ = (user, body);
    attempt.key()
}

fn server() -> Server {
    let guarded = Router::new()
        .route("/things/{id}", routing::post(by_route))
        .route("/named", routing::post(by_name))
        .route("/all", routing::post(of_all))
        .route("/derived", routing::post(of_body))
        .route("/fallback", routing::post(of_body_or_header));
    Server::new(Router::<App>::new().nest("/api", guarded))
}

fn ann() -> User {
    User("ann".to_owned())
}

fn sent(operation: &str, scope: &ScopeValue, header: &'static str) -> String {
    let header = HeaderValue::from_static(header);
    let key = IdempotencyKey::from_value(&header, KeyFormat::Any).unwrap();
    RecordId::sent(operation, scope, &key).attempt_key()
}

fn of(scope: &impl Scope) -> ScopeValue {
    ScopeValue::of(scope)
}

#[tokio::test]
async fn a_key_that_was_sent_gives_the_same_without_an_attempt() {
    let server = server();
    let by_route = server.send(post("/api/things/1").key("k")).await;
    let operation = "POST /api/things/{id}";
    assert_eq!(by_route.text(), sent(operation, &of(&ann()), "k"));
    assert_eq!(by_route.text(), sent(operation, &of(&ann()), "\"k\""), "quoted, the same key");
    let by_name = server.send(post("/api/named").key("k")).await;
    assert_eq!(by_name.text(), sent("donations.create", &of(&(ann(), 7)), "k"));
    let of_all = server.send(post("/api/all").key("k")).await;
    assert_eq!(of_all.text(), sent("donations.create", &ScopeValue::global(), "k"));
}

#[tokio::test]
async fn a_key_that_was_derived_gives_the_same_without_an_attempt() {
    let server = server();
    let key = DerivedKey::of(&("b", 1));
    let derived = server.send(post("/api/derived").body("b")).await;
    let id = RecordId::derived("of-body", &of(&ann()), &key);
    assert_eq!(derived.text(), id.attempt_key());
    let fallback = server.send(post("/api/fallback").body("b")).await;
    let id = RecordId::fallback("of-body", &of(&ann()), &key);
    assert_eq!(fallback.text(), id.attempt_key());
    assert_ne!(derived.text(), fallback.text());
}

#[test]
fn operation_scope_and_key_each_make_another_one() {
    let this = sent("op", &of(&ann()), "k");
    assert_ne!(this, sent("other", &of(&ann()), "k"));
    assert_ne!(this, sent("op", &of(&User("bob".to_owned())), "k"));
    assert_ne!(this, sent("op", &of(&ann()), "other"));
}
