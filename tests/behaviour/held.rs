//! Records whose outcome is unknown, and how they are decided.

use std::{
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Response, StatusCode},
    routing,
};
use idem::{
    Attempt, Held, Idem, Outcome, Reconciler, ResolveError, StoreError, async_trait, idempotent,
};
use tokio::time::{sleep, timeout};

use crate::support::{App, Fault, Runs, Server, User, post};

const LONG: Duration = Duration::from_secs(100);

/// How often reconcilers run.
const ROUND: Duration = Duration::from_mins(1);

#[idempotent(scope = "user", recover = "hold")]
async fn panics_at_first(State(runs): State<Runs>, user: User, attempt: Attempt) -> String {
    tokio::task::yield_now().await;
    let run = runs.add();
    assert!(attempt.number() > 1, "as it must");
    format!("{run} {} {}", user.0, attempt.child_key("charge"))
}

#[idempotent(scope = "global", recover = "hold", lease = "3s")]
async fn slow(State(runs): State<Runs>, attempt: Attempt) -> String {
    sleep(LONG).await;
    format!("{} {}", runs.add(), attempt.number())
}

fn routes() -> Router<App> {
    Router::new().route("/", routing::post(panics_at_first)).route("/slow", routing::post(slow))
}

/// A second process: another engine over the same store.
fn neighbour(of: &Server) -> Idem {
    Idem::builder(of.store.clone()).build().unwrap()
}

async fn panicked(keys: &[&str]) -> Server {
    let server = Server::new(routes());
    for key in keys {
        assert_eq!(server.send(post("/").key(key)).await.problem(), "handler-panicked");
    }
    server
}

async fn only_held(idem: &Idem) -> Held {
    let mut held = idem.held(None, 10).await.unwrap();
    assert_eq!(held.len(), 1, "{held:?}");
    held.remove(0)
}

fn keys(held: &[Held]) -> Vec<&str> {
    held.iter().map(|it| it.id.key()).collect()
}

fn paid(body: &'static str) -> Outcome {
    let response = Response::builder()
        .status(StatusCode::CREATED)
        .header("location", "/payments/1")
        .header("set-cookie", "secret")
        .header("connection", "x-hop")
        .header("x-hop", "1");
    Outcome::Completed(response.body(Bytes::from_static(body.as_bytes())).unwrap())
}

#[tokio::test]
async fn clients_get_the_answer_that_was_decided() {
    let server = panicked(&["k"]).await;
    server.store.memory.advance(Duration::from_hours(24 * 365));
    let held = only_held(&server.idem).await;
    assert_eq!((held.id.operation(), held.id.scope(), held.id.key()), ("POST /", "ann", "k"));
    assert!(held.held_for >= Duration::from_hours(24 * 365));
    server.idem.resolve(&held, paid("paid")).await.unwrap();
    let retry = server.send(post("/").key("k")).await;
    assert!(retry.is_replay());
    assert_eq!((retry.status, retry.text()), (201, "paid"));
    assert_eq!(retry.header("location"), Some("/payments/1"));
    for dropped in ["set-cookie", "connection", "x-hop"] {
        assert_eq!(retry.header(dropped), None, "headers are kept as recorded ones are");
    }
    assert_eq!(server.send(post("/").key("k").body("x")).await.problem(), "mismatch");
    assert_eq!(server.idem.held(None, 10).await.unwrap(), []);
    assert_eq!(server.runs.count(), 1);
}

#[tokio::test]
async fn a_retry_executes_once_it_was_decided_that_nothing_happened() {
    let server = panicked(&["k"]).await;
    let held = only_held(&server.idem).await;
    server.idem.resolve(&held, Outcome::Failed).await.unwrap();
    let retry = server.send(post("/").key("k")).await;
    assert!(!retry.is_replay());
    let (attempt, fence) = (held.attempt(), held.fence.get());
    assert_eq!((attempt.number(), attempt.fence()), (1, fence));
    assert_eq!(retry.text(), format!("2 ann {}", attempt.child_key("charge")));
    assert!(server.send(post("/").key("k")).await.is_replay());
    let late = server.idem.resolve(&held, paid("paid")).await;
    assert!(matches!(late, Err(ResolveError::Changed)), "{late:?}");
    assert!(server.send(post("/").key("k")).await.text().starts_with("2 "));
}

#[tokio::test]
async fn the_first_decision_counts() {
    let server = panicked(&["k"]).await;
    let held = only_held(&server.idem).await;
    for idem in [&server.idem, &neighbour(&server)] {
        idem.resolve(&held, paid("paid")).await.unwrap();
    }
    for other in [paid("paid twice"), Outcome::Failed] {
        let refused = server.idem.resolve(&held, other).await;
        assert!(matches!(refused, Err(ResolveError::Changed)), "{refused:?}");
    }
    assert_eq!(server.send(post("/").key("k")).await.text(), "paid");
}

#[tokio::test]
async fn a_decision_lives_as_long_as_the_engine_says() {
    let (ttl, failed_ttl) = (Duration::from_hours(2), Duration::from_hours(5));
    let server = Server::with(routes(), |builder| builder.ttl(ttl).failed_ttl(failed_ttl));
    for (outcome, lives) in [(paid("paid"), ttl), (Outcome::Failed, failed_ttl)] {
        server.send(post("/").key("k")).await;
        server.idem.resolve(&only_held(&server.idem).await, outcome).await.unwrap();
        server.store.memory.advance(lives.checked_sub(Duration::from_mins(1)).unwrap());
        assert_eq!(server.send(post("/").key("k").body("x")).await.problem(), "mismatch");
        server.store.memory.advance(Duration::from_mins(1));
        assert_eq!(server.send(post("/").key("k")).await.problem(), "handler-panicked");
        server.store.memory.forget(&only_held(&server.idem).await.id);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_alive_in_this_process_is_not_held() {
    let server = Server::new(routes());
    server.store.fault("renew", Fault::Refused);
    let running = tokio::spawn(server.send(post("/slow").key("alive")));
    sleep(LONG / 2).await;
    server.send(post("/").key("a")).await;
    server.send(post("/").key("b")).await;
    assert_eq!(keys(&server.idem.held(None, 10).await.unwrap()), ["a", "b"]);
    let other_process = neighbour(&server);
    let all = other_process.held(None, 10).await.unwrap();
    assert_eq!(keys(&all), ["alive", "a", "b"]);

    let first = server.idem.held(None, 1).await.unwrap();
    assert_eq!(keys(&first), ["a"], "pages are full as long as there is more");
    assert_eq!(keys(&server.idem.held(Some(first[0].fence), 1).await.unwrap()), ["b"]);

    let refused = server.idem.resolve(&all[0], Outcome::Failed).await;
    assert!(matches!(refused, Err(ResolveError::Changed)), "{refused:?}");
    assert_eq!(server.store.arrived("resolve"), 0);
    assert_eq!(running.await.unwrap().text(), "3 1");
    assert!(server.send(post("/slow").key("alive")).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_comes_back_after_the_decision_is_not_recorded() {
    let server = Server::new(routes());
    server.store.fault("renew", Fault::Refused);
    let cut_off = tokio::spawn(server.send(post("/slow").key("k")));
    sleep(LONG / 2).await;
    let other_process = neighbour(&server);
    let held = only_held(&other_process).await;
    other_process.resolve(&held, paid("paid")).await.unwrap();
    assert_eq!(cut_off.await.unwrap().problem(), "in-flight");
    assert_eq!(server.send(post("/slow").key("k")).await.text(), "paid");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_comes_home_after_the_decision_does_not_execute() {
    let server = Server::new(routes());
    server.store.fault("claim", Fault::AnswerLate(Duration::from_secs(4)));
    let call = tokio::spawn(server.send(post("/slow").key("k")));
    sleep(Duration::from_millis(3_500)).await;
    server.store.repair();
    let held = only_held(&server.idem).await;
    server.idem.resolve(&held, Outcome::Failed).await.unwrap();
    assert_eq!(call.await.unwrap().problem(), "in-flight");
    assert_eq!(server.runs.count(), 0);
    assert_eq!(server.send(post("/slow").key("k")).await.text(), "1 2");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_answer_is_an_error_in_time() {
    let server = panicked(&["k"]).await;
    let held = only_held(&server.idem).await;
    for operation in ["held", "resolve"] {
        server.store.fault(operation, Fault::Refused);
    }
    let listed = server.idem.held(None, 10).await;
    assert!(matches!(listed, Err(StoreError::Unavailable(_))), "{listed:?}");
    let refused = server.idem.resolve(&held, paid("paid")).await.unwrap_err();
    assert!(refused.source().is_some_and(<dyn Error>::is::<StoreError>), "{refused:?}");
    server.store.fault("held", Fault::Swallowed);
    server.store.fault("resolve", Fault::AnswerLost);
    let soon = Duration::from_secs(6);
    let listed = timeout(soon, server.idem.held(None, 10)).await.expect("in time");
    assert!(matches!(listed, Err(StoreError::Timeout(_))), "{listed:?}");
    let lost = timeout(soon, server.idem.resolve(&held, paid("paid"))).await.expect("in time");
    assert!(matches!(lost, Err(ResolveError::Store(StoreError::Timeout(_)))), "{lost:?}");
    server.store.repair();
    server.idem.resolve(&held, paid("paid")).await.expect("the same decision, sent again");
}

type Known = Result<Option<Outcome>, Box<dyn Error + Send + Sync>>;

/// Knows what its function says, and remembers for which keys it was asked.
struct Script<F> {
    asked: Arc<Mutex<Vec<String>>>,
    says: F,
}

#[async_trait]
impl<F: Fn(&str) -> Known + Send + Sync + 'static> Reconciler for Script<F> {
    async fn reconcile(&self, held: &Held) -> Known {
        self.asked.lock().unwrap().push(held.id.key().to_owned());
        tokio::task::yield_now().await;
        (self.says)(held.id.key())
    }
}

/// Starts a reconciler; returns for which keys it is asked.
fn reconcile(
    server: &Server,
    says: impl Fn(&str) -> Known + Send + Sync + 'static,
) -> Arc<Mutex<Vec<String>>> {
    let asked = Arc::default();
    server.idem.spawn_reconciler(ROUND, Script { asked: Arc::clone(&asked), says });
    asked
}

#[tokio::test(start_paused = true)]
async fn a_reconciler_decides_what_it_knows_and_is_asked_again_for_the_rest() {
    let server = panicked(&["unknown", "done", "not done"]).await;
    let asked = reconcile(&server, |key| {
        Ok(match key {
            "done" => Some(paid("paid")),
            "not done" => Some(Outcome::Failed),
            _ => None,
        })
    });
    assert!(asked.lock().unwrap().is_empty());
    sleep(ROUND * 3 / 2).await;
    assert_eq!(server.send(post("/").key("done")).await.text(), "paid");
    assert!(server.send(post("/").key("not done")).await.text().starts_with("4 ann"));
    assert_eq!(server.send(post("/").key("unknown")).await.problem(), "outcome-unknown");
    sleep(ROUND).await;
    assert_eq!(*asked.lock().unwrap(), ["unknown", "done", "not done", "unknown"]);
}

#[tokio::test(start_paused = true)]
async fn a_reconciler_that_panics_or_fails_at_one_record_goes_on_with_the_others() {
    let server = panicked(&["panic", "error", "done"]).await;
    let asked = reconcile(&server, |key| match key {
        "panic" => panic!("at this record"),
        "error" => Err("at this record".into()),
        _ => Ok(Some(paid("paid"))),
    });
    sleep(ROUND * 3 / 2).await;
    assert_eq!(server.send(post("/").key("done")).await.text(), "paid");
    sleep(ROUND).await;
    assert_eq!(*asked.lock().unwrap(), ["panic", "error", "done", "panic", "error"]);
}

#[tokio::test(start_paused = true)]
async fn a_reconciler_is_asked_for_every_record_once_in_a_round() {
    let expected: Vec<_> = (0..250).map(|i| i.to_string()).collect();
    let server = panicked(&expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let asked = reconcile(&server, |key| Ok((key.len() == 2).then(|| paid("paid"))));
    sleep(ROUND * 3 / 2).await;
    assert_eq!(*asked.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_reconciler_outlives_an_outage() {
    let server = panicked(&["k"]).await;
    let asked = reconcile(&server, |_| Ok(Some(paid("paid"))));
    server.store.fault("held", Fault::Refused);
    sleep(ROUND * 3 / 2).await;
    server.store.repair();
    assert!(asked.lock().unwrap().is_empty());
    server.store.fault("resolve", Fault::Refused);
    sleep(ROUND).await;
    server.store.repair();
    assert_eq!(server.send(post("/").key("k")).await.problem(), "outcome-unknown");
    sleep(ROUND).await;
    assert_eq!(server.send(post("/").key("k")).await.text(), "paid");
    assert_eq!(asked.lock().unwrap().len(), 2);
}

struct Hangs;

#[async_trait]
impl Reconciler for Hangs {
    async fn reconcile(&self, _: &Held) -> Known {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn reconcilers_stop_on_drain() {
    let server = panicked(&["k", "l"]).await;
    let asked = reconcile(&server, |_| Ok(None));
    server.idem.spawn_reconciler(ROUND, Hangs);
    sleep(ROUND * 3 / 2).await;
    assert_eq!(asked.lock().unwrap().len(), 2);
    timeout(Duration::from_secs(1), server.idem.drain()).await.expect("the reconcilers stop");
    sleep(ROUND * 2).await;
    assert_eq!(asked.lock().unwrap().len(), 2);
}
