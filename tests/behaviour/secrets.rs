//! Nothing that a client sent shows up where it should not.

use std::{error::Error, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{Response, StatusCode},
    routing,
};
use idem::{Held, Outcome, Reconciler, async_trait, idempotent};

use crate::{
    log::Log,
    support::{App, Fault, Runs, Server, User, post},
};

#[idempotent(scope = "user", on_store_error = "bypass")]
async fn run(State(runs): State<Runs>, user: User, body: String) -> (StatusCode, String) {
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(!body.contains("panic"), "as asked");
    let status = if body.contains("fail") { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
    (status, format!("{} secret-answer of {}", runs.add(), user.0))
}

#[idempotent(scope = "user", recover = "hold")]
async fn held(user: User) -> String {
    tokio::time::sleep(Duration::from_millis(10)).await;
    panic!("{} asked for it", user.0)
}

fn routes() -> Router<App> {
    Router::new().route("/", routing::post(run)).route("/held", routing::post(held))
}

fn call(body: &str) -> crate::support::Call {
    post("/").user("secret-user").key("secret-key").body(format!("secret-body {body}"))
}

#[tokio::test(start_paused = true)]
async fn no_key_scope_body_or_answer_is_logged() {
    Log::capture();
    let server = Server::new(routes());
    for body in ["panic", "panic", "fail"] {
        server.send(call(body)).await;
    }
    server.send(post("/").user("secret-user").key("secret-key").key("secret-key")).await;
    server.store.memory.advance(Duration::from_hours(25));
    for _ in 0..2 {
        server.send(call("")).await;
    }
    for (operation, fault) in [("claim", Fault::Refused), ("complete", Fault::Refused)] {
        server.store.fault(operation, fault);
        server.send(call("").header("idempotency-key-2", "x")).await;
        server.send(post("/").user("secret-user").key("secret-other").body("x")).await;
        server.store.repair();
    }
    let text = Log::text();
    for event in ["panicked", "replayed", "runs unguarded", "could not be recorded"] {
        assert!(text.contains(event), "no event {event:?} in\n{text}");
    }
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn each_unguarded_execution_is_a_warning() {
    Log::capture();
    let server = Server::new(routes());
    server.store.fault("claim", Fault::Refused);
    for _ in 0..3 {
        server.send(call("")).await;
    }
    let text = Log::text();
    let warnings = text.lines().filter(|it| it.contains("WARN") && it.contains("runs unguarded"));
    let of_the_operation = warnings.filter(|it| it.contains("POST /"));
    assert_eq!(of_the_operation.count(), 3, "{text}");
}

/// Quotes the key in whatever it says.
struct Quotes;

#[async_trait]
impl Reconciler for Quotes {
    async fn reconcile(
        &self,
        held: &Held,
    ) -> Result<Option<Outcome>, Box<dyn Error + Send + Sync>> {
        match held.id.key() {
            key @ "secret-key-panic" => panic!("{key}"),
            key @ "secret-key-error" => Err(format!("{key} is not known").into()),
            key => Ok(Some(Outcome::Completed(Response::new(key.to_owned().into())))),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reconciling_logs_the_operation_alone() {
    Log::capture();
    let server = Server::new(routes());
    for key in ["secret-key-panic", "secret-key-error", "secret-key"] {
        server.send(post("/held").user("secret-user").key(key)).await;
    }
    server.idem.spawn_reconciler(Duration::from_mins(1), Quotes);
    server.store.fault("resolve", Fault::Refused);
    tokio::time::sleep(Duration::from_secs(90)).await;
    server.store.repair();
    tokio::time::sleep(Duration::from_mins(1)).await;
    let text = Log::text();
    for event in [
        "the reconciler failed",
        "the reconciler panicked",
        "a held record could not be resolved",
        "a held record was resolved",
    ] {
        let lines: Vec<_> = text.lines().filter(|line| line.contains(event)).collect();
        assert!(!lines.is_empty(), "no event {event:?} in\n{text}");
        assert!(lines.iter().all(|line| line.contains("POST /held")), "{lines:?}");
    }
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn refusals_reveal_nothing_of_the_stored_request() {
    let server = Server::new(routes());
    let running = tokio::spawn(server.send(call("")));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let in_flight = server.send(call("")).await;
    let mismatch = server.send(call("other")).await;
    running.await.unwrap();
    let late_mismatch = server.send(call("other")).await;
    for (answer, problem) in
        [(&in_flight, "in-flight"), (&mismatch, "mismatch"), (&late_mismatch, "mismatch")]
    {
        assert_eq!(answer.problem(), problem);
        let whole = format!("{answer:?}");
        assert!(!whole.contains("secret"), "{whole}");
    }
    assert_eq!(mismatch.body, late_mismatch.body, "a mismatch does not tell whether it has ended");
}
