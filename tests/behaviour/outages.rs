//! When the store does not answer.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::LOCATION},
    routing,
};
use idem::{Attempt, StoredResponse, idempotent};
use tokio::time::{Instant, sleep};

use crate::support::{App, Fault, Runs, Server, post};

const SECOND: Duration = Duration::from_secs(1);

#[idempotent(scope = "global")]
async fn refused(State(runs): State<Runs>) -> String {
    runs.add().to_string()
}

#[idempotent(scope = "global", recover = "hold")]
async fn held(State(runs): State<Runs>) -> String {
    runs.add().to_string()
}

#[idempotent(scope = "global", on_store_error = "bypass")]
async fn bypassed(State(runs): State<Runs>, attempt: Option<Attempt>) -> String {
    format!("{} {}", runs.add(), attempt.is_some())
}

fn routes() -> Router<App> {
    Router::new()
        .route("/refused", routing::post(refused))
        .route("/held", routing::post(held))
        .route("/bypassed", routing::post(bypassed))
}

#[tokio::test(start_paused = true)]
async fn the_handler_does_not_run_and_the_client_gets_a_503_within_the_timeout() {
    let server = Server::with(routes(), |it| it.store_timeout(2 * SECOND));
    for fault in [Fault::Refused, Fault::Swallowed] {
        server.store.fault("claim", fault);
        let start = Instant::now();
        let answer = server.send(post("/refused").key("k")).await;
        assert_eq!((answer.status, answer.problem().as_str()), (503, "store-unavailable"));
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(start.elapsed() <= 2 * SECOND, "{:?}", start.elapsed());
    }
    assert_eq!(server.runs.count(), 0);
    server.store.repair();
    assert_eq!(server.send(post("/refused").key("k")).await.text(), "1");
}

#[tokio::test(start_paused = true)]
async fn duplicates_behind_a_claim_that_hangs_get_their_503_in_time_too() {
    let server = Server::with(routes(), |it| it.store_timeout(2 * SECOND));
    server.store.fault("claim", Fault::Swallowed);
    let start = Instant::now();
    let calls: Vec<_> =
        (0..50).map(|_| tokio::spawn(server.send(post("/refused").key("k")))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().status, 503);
    }
    assert!(start.elapsed() <= 2 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_may_opt_for_running_unguarded() {
    let server = Server::new(routes());
    server.store.fault("claim", Fault::Refused);
    assert_eq!(server.send(post("/bypassed").key("k")).await.text(), "1 false");
    assert_eq!(server.send(post("/bypassed").key("k")).await.text(), "2 false");
    server.store.repair();
    assert_eq!(server.send(post("/bypassed").key("k")).await.text(), "3 true");
    assert!(server.send(post("/bypassed").key("k")).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_was_lost_blocks_nobody() {
    for path in ["/refused", "/held"] {
        let server = Server::new(routes());
        server.store.fault("claim", Fault::AnswerLost);
        assert_eq!(server.send(post(path).key("k")).await.problem(), "store-unavailable");
        server.store.repair();
        sleep(SECOND).await;
        assert_eq!(server.send(post(path).key("k")).await.text(), "1", "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_was_lost_is_taken_back_when_the_store_is_back() {
    let server = Server::new(routes());
    server.store.fault("claim", Fault::AnswerLost);
    server.store.fault("release", Fault::Swallowed);
    assert_eq!(server.send(post("/held").key("k")).await.problem(), "store-unavailable");
    sleep(60 * SECOND).await;
    server.store.repair();
    sleep(10 * SECOND).await;
    assert_eq!(server.send(post("/held").key("k")).await.text(), "1");
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_cannot_be_recorded_answers_its_client_and_is_recorded_later() {
    for fault in [Fault::Refused, Fault::Swallowed, Fault::AnswerLost] {
        let server = Server::new(routes());
        server.store.fault("complete", fault);
        let start = Instant::now();
        assert_eq!(server.send(post("/refused").key("k")).await.text(), "1", "{fault:?}");
        assert!(start.elapsed() <= 5 * SECOND);
        // Far beyond the lease, which goes on being renewed.
        sleep(120 * SECOND).await;
        assert_eq!(server.send(post("/refused").key("k")).await.problem(), "in-flight");
        server.store.repair();
        sleep(10 * SECOND).await;
        assert!(server.send(post("/refused").key("k")).await.is_replay(), "{fault:?}");
        assert_eq!(server.runs.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_can_never_be_recorded_is_like_a_crash() {
    let server = Server::with(routes(), |it| it.record_deadline(60 * SECOND));
    server.store.fault("complete", Fault::Refused);
    assert_eq!(server.send(post("/refused").key("r")).await.text(), "1");
    assert_eq!(server.send(post("/held").key("h")).await.text(), "2");
    sleep(100 * SECOND).await;
    server.store.repair();
    assert_eq!(server.send(post("/refused").key("r")).await.text(), "3");
    assert_eq!(server.send(post("/held").key("h")).await.problem(), "outcome-unknown");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_lapses_by_itself_is_not_chased_for_longer_than_its_lease() {
    let server = Server::new(routes());
    server.store.fault("claim", Fault::AnswerLost);
    server.store.fault("release", Fault::Refused);
    server.send(post("/refused").key("k")).await;
    tokio::time::timeout(40 * SECOND, server.idem.drain()).await.expect("it gives up");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_no_reason_to_run_unguarded() {
    let server = Server::new(routes());
    server.store.fault("claim", Fault::Damaged);
    let answer = server.send(post("/bypassed").key("k")).await;
    assert_eq!((answer.problem().as_str(), server.runs.count()), ("store-unavailable", 0));
}

#[tokio::test(start_paused = true)]
async fn timeouts_without_end_are_accepted() {
    let server =
        Server::with(routes(), |it| it.store_timeout(Duration::MAX).record_deadline(Duration::MAX));
    server.store.fault("complete", Fault::Refused);
    assert_eq!(server.send(post("/refused").key("k")).await.text(), "1");
    sleep(10 * SECOND).await;
    server.store.repair();
    sleep(10 * SECOND).await;
    assert!(server.send(post("/refused").key("k")).await.is_replay());
}

#[tokio::test]
async fn a_full_memory_store_refuses_new_keys_and_keeps_what_it_has() {
    let store = idem::MemoryStore::bounded(2, 1024);
    let idem = idem::Idem::builder(store.clone()).build().unwrap();
    let app = App { idem: idem.clone(), runs: Runs::default() };
    let server = Server {
        router: routes().with_state(app.clone()),
        idem,
        runs: app.runs,
        store: <_>::default(),
    };
    for key in ["a", "b"] {
        assert_eq!(server.send(post("/refused").key(key)).await.status, 200);
    }
    assert_eq!(server.send(post("/refused").key("c")).await.problem(), "store-unavailable");
    assert!(server.send(post("/refused").key("a")).await.is_replay());
    store.advance(Duration::from_hours(24));
    assert_eq!(server.send(post("/refused").key("c")).await.status, 200);
}

#[test]
fn stored_responses_show_no_content_in_debug_output() {
    let stored = StoredResponse {
        status: StatusCode::OK,
        headers: vec![(LOCATION, "/secret".parse().unwrap())],
        body: Some("secret".into()),
    };
    assert!(!format!("{stored:?}").contains("secret"));
}
