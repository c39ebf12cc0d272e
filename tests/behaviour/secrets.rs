//! Nothing that a client sent shows up where it should not.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing};
use idem::idempotent;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{App, Fault, Runs, Server, User, post};

#[idempotent(scope = "user", on_store_error = "bypass")]
async fn run(State(runs): State<Runs>, user: User, body: String) -> (StatusCode, String) {
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(!body.contains("panic"), "as asked");
    let status = match body.contains("fail") {
        true => StatusCode::BAD_GATEWAY,
        false => StatusCode::OK,
    };
    (status, format!("{} secret-answer of {}", runs.add(), user.0))
}

fn routes() -> Router<App> {
    Router::new().route("/", routing::post(run))
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Everything that is logged from now on, on this thread.
    fn capture(level: Level) -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber =
            tracing_subscriber::fmt().with_max_level(level).with_writer(log.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn call(body: &str) -> crate::support::Call {
    post("/").user("secret-user").key("secret-key").body(format!("secret-body {body}"))
}

#[tokio::test(start_paused = true)]
async fn no_key_scope_body_or_answer_is_logged() {
    let (log, _guard) = Log::capture(Level::DEBUG);
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
    let text = log.text();
    for event in ["panicked", "replayed", "runs unguarded", "could not be recorded"] {
        assert!(text.contains(event), "no event {event:?} in\n{text}");
    }
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn each_unguarded_execution_is_a_warning() {
    let (log, _guard) = Log::capture(Level::WARN);
    let server = Server::new(routes());
    server.store.fault("claim", Fault::Refused);
    for _ in 0..3 {
        server.send(call("")).await;
    }
    let text = log.text();
    assert_eq!(text.matches("runs unguarded").count(), 3, "{text}");
    assert!(text.contains("WARN") && text.contains("POST /"), "{text}");
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
