//! Nobody reaches a record of another scope.

use axum::{Router, extract::State, routing};
use idem::idempotent;

use crate::support::{App, Runs, Server, User, post};

#[idempotent(scope = "user")]
async fn of_user(State(runs): State<Runs>, user: User) -> String {
    format!("{} {}", user.0, runs.add())
}

#[idempotent(scope = "(user, \"x\")")]
async fn of_both(State(runs): State<Runs>, user: User) -> String {
    runs.add().to_string()
}

#[idempotent(scope = "global")]
async fn of_all(State(runs): State<Runs>) -> String {
    runs.add().to_string()
}

fn routes() -> Router<App> {
    Router::new()
        .route("/user", routing::post(of_user))
        .route("/both", routing::post(of_both))
        .route("/all", routing::post(of_all))
}

#[tokio::test]
async fn each_user_has_keys_of_their_own() {
    let server = Server::new(routes());
    assert_eq!(server.send(post("/user").key("k")).await.text(), "ann 1");
    assert_eq!(server.send(post("/user").user("bob").key("k")).await.text(), "bob 2");
    assert_eq!(server.send(post("/user").key("k")).await.text(), "ann 1");
    let other_body = server.send(post("/user").user("eve").key("k").body("x")).await;
    assert_eq!(other_body.text(), "eve 3", "not even a mismatch tells that the key is used");
}

#[tokio::test]
async fn all_callers_share_the_global_scope() {
    let server = Server::new(routes());
    assert_eq!(server.send(post("/all").key("k")).await.text(), "1");
    assert!(server.send(post("/all").user("bob").key("k")).await.is_replay());
}

#[tokio::test]
async fn a_scope_and_a_key_never_run_together() {
    let server = Server::new(routes());
    for (user, key) in [("a", "bk"), ("ab", "k"), ("", "abk"), ("(a, x)", "k")] {
        assert!(!server.send(post("/user").user(user).key(key)).await.is_replay());
        assert!(!server.send(post("/both").user(user).key(key)).await.is_replay());
    }
    assert_eq!(server.runs.count(), 8);
}
