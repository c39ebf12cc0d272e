//! What operators read of duplicates in the log.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode},
    routing,
};
use idem::{Idem, IdempotencyKey, KeyFormat, RecordId, ScopeValue, idempotent};
use tokio::time::sleep;
use tracing::Level;

use crate::{
    documentation::assert_documented,
    fingerprints::unwritable,
    log::{Event, Log},
    support::{App, Call, Fault, Runs, Server, User, post},
};

const SECOND: Duration = Duration::from_secs(1);
const KEY: &str = "secret-key";

#[idempotent(scope = "user", lease = "9s")]
async fn run(State(runs): State<Runs>, user: User, body: String) -> (StatusCode, String) {
    let run = runs.add();
    sleep(5 * SECOND).await;
    let status = if run == 1 && body == "fail" { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
    (status, format!("{run} {}", user.0))
}

#[idempotent(scope = "user", lease = "9s")]
async fn slow(user: User) -> String {
    sleep(20 * SECOND).await;
    user.0
}

#[idempotent(scope = "user", on_conflict = "wait", wait = "20s")]
async fn wait(State(runs): State<Runs>, user: User, body: String) -> (StatusCode, String) {
    run_unguarded(State(runs), user, body).await
}

#[idempotent(scope = "user", on_conflict = "wait", wait = "2s")]
async fn wait_briefly(State(runs): State<Runs>, user: User) -> (StatusCode, String) {
    run_unguarded(State(runs), user, String::new()).await
}

#[idempotent(scope = "user", recover = "hold", operation = "held")]
async fn hold(user: User) -> String {
    panic!("{} asked for it", user.0)
}

#[idempotent(scope = "user", max_response = "1B")]
async fn large(user: User) -> String {
    user.0
}

#[idempotent(scope = "user", on_store_error = "bypass", required = false, max_body = "1B")]
async fn lenient(user: User, body: String) -> String {
    assert!(body.is_empty(), "as asked");
    user.0
}

fn routes() -> Router<App> {
    Router::new()
        .route("/", routing::post(run))
        .route("/wait", routing::post(wait))
        .route("/wait-briefly", routing::post(wait_briefly))
        .route("/hold", routing::post(hold))
        .route("/large", routing::post(large))
        .route("/lenient", routing::post(lenient))
        .route("/slow", routing::post(slow))
        .route("/unwritable", routing::post(unwritable))
        .fallback(run)
}

/// A second process: another engine over the same store.
pub(crate) fn neighbour(of: &Server) -> Server {
    let idem = Idem::builder(of.store.clone()).build().unwrap();
    let app = App { idem: idem.clone(), runs: of.runs.clone() };
    let (runs, store) = (of.runs.clone(), of.store.clone());
    Server { router: routes().with_state(app), idem, runs, store }
}

pub(crate) fn server() -> Server {
    Log::capture();
    Server::new(routes())
}

pub(crate) fn call(path: &str) -> Call {
    post(path).user("secret-user").key(KEY)
}

/// The first digits of the record's primary key.
fn key_hash(operation: &str, user: &str) -> String {
    let name = HeaderName::from_static("idempotency-key");
    let headers = HeaderMap::from_iter([(name.clone(), KEY.parse().unwrap())]);
    let key = IdempotencyKey::from_headers(&headers, &name, KeyFormat::Any).unwrap().unwrap();
    let id = RecordId::sent(operation, &ScopeValue::of(user), &key);
    id.digest()[..4].iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// The events since the last time. Nothing in the log is what a client sent.
fn events() -> Vec<Event> {
    let text = Log::text();
    assert!(!text.contains("secret"), "{text}");
    let events = Log::take_events();
    events.iter().for_each(assert_documented);
    events
}

/// The only event since the last time.
#[track_caller]
fn event() -> Event {
    let events = events();
    assert_eq!(events.len(), 1, "{events:#?}");
    events.into_iter().next().unwrap()
}

#[track_caller]
fn assert_is(event: &Event, level: Level, message: &str, outcome: &str, age: Option<f64>) {
    assert_eq!(event.gist(), (level, message, outcome));
    assert_eq!(event.seconds("age"), age);
    let operation = event.field("operation").unwrap();
    assert_eq!(event.field("key_hash"), Some(&*key_hash(operation, "secret-user")));
    let known = ["age", "key_hash", "operation", "outcome", "waited"];
    assert!(event.fields.keys().all(|it| known.contains(it)), "{event:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replay_says_how_late_it_comes() {
    let server = server();
    server.send(call("/")).await;
    let executed = event();
    assert_is(&executed, Level::DEBUG, "executed", "executed", Some(5.0));
    assert_eq!(executed.field("operation"), Some("POST /"));
    sleep(7 * SECOND).await;
    for age in [12.0, 14.5] {
        assert!(server.send(call("/")).await.is_replay());
        assert_is(&event(), Level::INFO, "replayed", "replayed", Some(age));
        sleep(Duration::from_millis(2500)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn equal_keys_of_two_users_have_hashes_of_their_own() {
    let server = server();
    for user in ["secret-ann", "secret-bob"] {
        server.send(call("/").user(user)).await;
        assert_eq!(event().field("key_hash"), Some(&*key_hash("POST /", user)));
    }
    assert_ne!(key_hash("POST /", "secret-ann"), key_hash("POST /", "secret-bob"));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_says_how_old_the_running_execution_is() {
    let server = server();
    let other = neighbour(&server);
    let first = tokio::spawn(server.send(call("/")));
    sleep(3 * SECOND).await;
    // The first of them does not ask the store.
    for at in [&server, &other] {
        assert_eq!(at.send(call("/")).await.problem(), "in-flight");
        assert_is(&event(), Level::INFO, "refused: in flight", "in_flight", Some(3.0));
    }
    assert_eq!(server.store.arrived("claim"), 2);
    assert_eq!(first.await.unwrap().status, 200);
    assert_is(&event(), Level::DEBUG, "executed", "executed", Some(5.0));
}

#[tokio::test(start_paused = true)]
async fn a_mismatch_is_a_warning_whatever_the_record_is_at() {
    let server = server();
    let other = neighbour(&server);
    let first = tokio::spawn(server.send(call("/")));
    sleep(3 * SECOND).await;
    let mismatch = "refused: mismatch";
    for at in [&server, &other] {
        assert_eq!(at.send(call("/").body("secret-other")).await.problem(), "mismatch");
        assert_is(&event(), Level::WARN, mismatch, "mismatch", Some(3.0));
    }
    first.await.unwrap();
    event();
    sleep(SECOND).await;
    assert_eq!(server.send(call("/").body("secret-other")).await.problem(), "mismatch");
    assert_is(&event(), Level::WARN, mismatch, "mismatch", Some(6.0));
}

#[tokio::test(start_paused = true)]
async fn a_takeover_is_a_warning_before_it_runs() {
    let server = server();
    let other = neighbour(&server);
    server.store.fault("renew", Fault::Refused);
    let cut_off = tokio::spawn(server.send(call("/slow")));
    sleep(10 * SECOND).await;
    server.store.repair();
    let retry = tokio::spawn(other.send(call("/slow")));
    sleep(SECOND).await;
    assert_is(&event(), Level::WARN, "took over a lapsed lease", "taken_over", Some(10.0));
    assert_eq!(cut_off.await.unwrap().problem(), "in-flight");
    let message = "executed, but taken over meanwhile";
    assert_is(&event(), Level::DEBUG, message, "superseded", Some(20.0));
    assert_eq!(retry.await.unwrap().status, 200);
    assert_is(&event(), Level::DEBUG, "executed", "executed", Some(30.0));
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_a_failed_attempt_is_no_takeover() {
    let server = server();
    assert_eq!(server.send(call("/").body("fail")).await.status, 502);
    let message = "executed, without a final answer";
    assert_is(&event(), Level::DEBUG, message, "not_final", Some(5.0));
    sleep(SECOND).await;
    assert_eq!(server.send(call("/").body("fail")).await.status, 200);
    assert_is(&event(), Level::DEBUG, "executed", "executed", Some(11.0));
}

#[tokio::test(start_paused = true)]
async fn a_wait_says_how_it_ended_and_how_long_it_was() {
    for (path, body, ending, waited, follows) in [
        ("/wait", "", "replayed", 4.0, Some((Level::INFO, "replayed", "replayed"))),
        ("/wait", "fail", "executed", 4.0, None),
        (
            "/wait-briefly",
            "",
            "in_flight",
            2.0,
            Some((Level::INFO, "refused: in flight", "in_flight")),
        ),
    ] {
        for elsewhere in [false, true] {
            let server = server();
            let other = neighbour(&server);
            let first = tokio::spawn(server.send(call(path).body(body)));
            sleep(SECOND).await;
            let at = if elsewhere { &other } else { &server };
            let waiter = tokio::spawn(at.send(call(path).body(body)));
            sleep(5 * SECOND).await;
            first.await.unwrap();
            let mut events = events();
            events.retain(|it| {
                !matches!(it.field("outcome"), Some("executed" | "not_final"))
                    || it.message == "waited"
            });
            let mut events = events.into_iter();
            let wait = events.next().unwrap();
            // Another process finds out by asking.
            let late = wait.seconds("waited").unwrap() - waited;
            assert!((0.0..=0.1).contains(&late), "{wait:?}");
            assert!(elsewhere || late == 0.0, "{wait:?}");
            assert_is(&wait, Level::INFO, "waited", ending, Some(1.0 + waited + late));
            assert_eq!(events.next().as_ref().map(Event::gist), follows);
            assert_eq!(events.next(), None);
            waiter.await.unwrap();
            assert_eq!(self::events().len(), usize::from(follows.is_none()), "it executed");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_joins_a_wait_knows_how_old_the_execution_is() {
    let server = server();
    let other = neighbour(&server);
    let first = tokio::spawn(server.send(call("/wait-briefly")));
    for _ in 0..2 {
        sleep(SECOND).await;
        tokio::spawn(other.send(call("/wait-briefly")));
    }
    sleep(Duration::from_millis(2500)).await;
    assert_eq!(server.store.arrived("claim"), 2, "the second one has not asked");
    let waits: Vec<_> = events().into_iter().filter(|it| it.message == "waited").collect();
    let ages: Vec<_> = waits.iter().map(|it| it.seconds("age")).collect();
    assert_eq!(ages, [Some(3.0), Some(4.0)]);
    first.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_ends_with_a_held_record_or_an_outage_says_so() {
    let server = server();
    let other = neighbour(&server);
    let first = tokio::spawn(server.send(call("/wait")));
    sleep(SECOND).await;
    let waiter = tokio::spawn(other.send(call("/wait")));
    sleep(SECOND).await;
    server.store.fault("claim", Fault::Refused);
    first.await.unwrap();
    assert_eq!(waiter.await.unwrap().problem(), "store-unavailable");
    let events = events();
    let gists: Vec<_> = events.iter().map(Event::gist).collect();
    assert_eq!(
        gists[1..],
        [
            (Level::INFO, "waited", "store_unavailable"),
            (Level::DEBUG, "refused: store unavailable", "store_unavailable"),
        ]
    );
    assert_eq!(events[1].field("age"), None);
}

#[tokio::test(start_paused = true)]
async fn a_held_record_is_a_warning_each_time() {
    let server = server();
    assert_eq!(server.send(call("/hold")).await.problem(), "handler-panicked");
    let panicked = event();
    assert_is(&panicked, Level::DEBUG, "failed: handler panicked", "handler_panicked", Some(0.0));
    assert_eq!(panicked.field("operation"), Some("held"));
    for age in [60.0, 120.0] {
        sleep(60 * SECOND).await;
        assert_eq!(server.send(call("/hold")).await.problem(), "outcome-unknown");
        assert_is(&event(), Level::WARN, "refused: outcome unknown", "held", Some(age));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_not_kept_is_no_replay() {
    let server = server();
    server.send(call("/large")).await;
    assert_eq!(event().gist(), (Level::DEBUG, "executed", "executed"));
    assert_eq!(server.send(call("/large")).await.problem(), "response-not-kept");
    let message = "refused: response not kept";
    assert_is(&event(), Level::INFO, message, "response_not_kept", Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn what_is_rejected_or_runs_unguarded_is_noted() {
    let server = server();
    server.send(post("/").user("secret-user")).await;
    server.send(post("/").user("secret-user").key("")).await;
    server.send(call("/lenient").body("secret-body")).await;
    server.send(call("/nowhere")).await;
    server.send(post("/nowhere").user("secret-user")).await;
    server.send(post("/lenient").user("secret-user")).await;
    let events = events();
    let gists: Vec<_> =
        events.iter().map(|it| (it.gist(), it.field("operation").unwrap())).collect();
    assert_eq!(
        gists,
        [
            ((Level::DEBUG, "rejected: key missing", "key_missing"), "POST /"),
            ((Level::DEBUG, "rejected: key invalid", "key_invalid"), "POST /"),
            ((Level::DEBUG, "rejected: body too large", "body_too_large"), "POST /lenient"),
            ((Level::DEBUG, "rejected: operation unknown", "operation_unknown"), "unknown"),
            ((Level::DEBUG, "rejected: key missing", "key_missing"), "unknown"),
            ((Level::DEBUG, "ran unguarded: no key", "unguarded"), "POST /lenient"),
        ]
    );
    assert!(events.iter().all(|it| it.field("key_hash").or(it.field("age")).is_none()));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_noted_beside_its_error() {
    let server = server();
    server.store.fault("claim", Fault::Refused);
    assert_eq!(server.send(call("/")).await.problem(), "store-unavailable");
    let message = "refused: store unavailable";
    assert_is(&event(), Level::DEBUG, message, "store_unavailable", None);
    assert_eq!(server.send(call("/lenient")).await.status, 200);
    let message = "ran unguarded: store unavailable";
    assert_is(&event(), Level::DEBUG, message, "bypassed", None);
    assert_eq!(server.send(call("/lenient").body("x")).await.problem(), "handler-panicked");
    assert_is(&event(), Level::DEBUG, message, "bypassed", None);
}
