//! A claim holds as long as its execution lives.

use std::time::Duration;

use axum::{Router, extract::State, routing};
use idem::idempotent;

use crate::support::{App, Fault, Runs, Server, post};

const LONG: Duration = Duration::from_secs(100);

#[idempotent(scope = "global", lease = "9s")]
async fn slow(State(runs): State<Runs>) -> String {
    tokio::time::sleep(LONG).await;
    runs.add().to_string()
}

#[idempotent(scope = "global", lease = "1s")]
async fn brief(State(runs): State<Runs>) -> String {
    runs.add().to_string()
}

#[idempotent(scope = "global", ttl = "60s", lease = "3s")]
async fn soon_forgotten(State(runs): State<Runs>) -> String {
    tokio::time::sleep(LONG).await;
    runs.add().to_string()
}

fn routes() -> Router<App> {
    Router::new()
        .route("/", routing::post(slow))
        .route("/brief", routing::post(brief))
        .route("/soon-forgotten", routing::post(soon_forgotten))
}

/// A second process: another engine over the same store.
fn neighbour(of: &Server) -> Server {
    let idem = idem::Idem::builder(of.store.clone()).build().unwrap();
    let runs = Runs::default();
    let app = App { idem: idem.clone(), runs: runs.clone() };
    Server { router: routes().with_state(app), idem, runs, store: of.store.clone() }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_at_a_third_of_it_for_as_long_as_the_execution_runs() {
    let server = Server::new(routes());
    let running = tokio::spawn(server.send(post("/").key("k")));
    for _ in 0..9 {
        tokio::time::sleep(LONG / 10).await;
        assert_eq!(neighbour(&server).send(post("/").key("k")).await.problem(), "in-flight");
    }
    assert_eq!(running.await.unwrap().text(), "1");
    assert_eq!(server.store.arrived("renew"), 33);
    tokio::time::sleep(LONG).await;
    assert_eq!(server.store.arrived("renew"), 33, "an ended execution renews nothing");
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_died_is_taken_over_after_its_lease_and_not_before() {
    let server = Server::new(routes());
    server.store.fault("renew", Fault::Refused);
    let dead = tokio::spawn(server.send(post("/").key("k")));
    tokio::time::sleep(Duration::from_millis(8_500)).await;
    assert_eq!(neighbour(&server).send(post("/").key("k")).await.problem(), "in-flight");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    server.store.repair();
    let second = neighbour(&server);
    assert_eq!(second.send(post("/").key("k")).await.text(), "1");
    // The first one lives after all, and must not overwrite what the second one recorded.
    assert_eq!(dead.await.unwrap().problem(), "in-flight");
    assert!(second.send(post("/").key("k")).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn an_engine_never_takes_over_what_is_alive_in_its_own_process() {
    let server = Server::new(routes());
    server.store.fault("renew", Fault::Refused);
    let running = tokio::spawn(server.send(post("/").key("k")));
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert_eq!(server.send(post("/").key("k")).await.problem(), "in-flight");
    assert_eq!(running.await.unwrap().text(), "1", "late, but not taken over");
    assert!(server.send(post("/").key("k")).await.is_replay());
    assert_eq!(server.runs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_comes_home_after_its_lease_executes_only_if_nobody_took_over() {
    let late = Fault::AnswerLate(Duration::from_secs(2));
    for taken_over in [false, true] {
        let server = Server::new(routes());
        server.store.fault("claim", late);
        let call = tokio::spawn(server.send(post("/brief").key("k")));
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        server.store.repair();
        if taken_over {
            assert_eq!(neighbour(&server).send(post("/brief").key("k")).await.text(), "1");
            assert_eq!(call.await.unwrap().problem(), "in-flight");
            assert_eq!(server.runs.count(), 0);
        } else {
            assert_eq!(call.await.unwrap().text(), "1");
        }
        assert!(server.send(post("/brief").key("k")).await.is_replay());
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_hangs_does_not_cost_the_lease() {
    let server = Server::new(routes());
    let running = tokio::spawn(server.send(post("/soon-forgotten").key("k")));
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.store.fault("renew", Fault::Swallowed);
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    server.store.repair();
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let duplicate = neighbour(&server).send(post("/soon-forgotten").key("k")).await;
        assert_eq!(duplicate.problem(), "in-flight");
    }
    assert_eq!(running.await.unwrap().text(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_partly_over_when_its_claim_comes_home_is_renewed_at_once() {
    let server = Server::new(routes());
    server.store.fault("claim", Fault::AnswerLate(Duration::from_secs(4)));
    let running = tokio::spawn(server.send(post("/").key("k")));
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.store.repair();
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    assert_eq!(server.store.arrived("renew"), 1);
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(neighbour(&server).send(post("/").key("k")).await.problem(), "in-flight");
    }
    assert_eq!(running.await.unwrap().text(), "1");
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_cannot_renew_is_not_swept_away_however_short_its_ttl() {
    let server = Server::new(routes());
    server.idem.spawn_sweeper(Duration::from_secs(1));
    server.store.fault("renew", Fault::Refused);
    let running = tokio::spawn(server.send(post("/soon-forgotten").key("k")));
    assert_eq!(running.await.unwrap().text(), "1");
    assert!(server.send(post("/soon-forgotten").key("k")).await.is_replay());
}
