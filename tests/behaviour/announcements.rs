//! Stores that announce what has ended: who waits in another process need not wait for a poll.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing};
use futures_util::future::join_all;
use idem::{Announced, Idem, idempotent};
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::support::{Answer, App, Fault, Runs, Server, post};

const LONG: Duration = Duration::from_secs(5);
const ALMOST_AS_LONG: Duration = Duration::from_millis(4_990);

#[idempotent(scope = "global", on_conflict = "wait", wait = "20s")]
async fn create(State(runs): State<Runs>, body: String) -> (StatusCode, String) {
    let run = runs.add();
    if run == 1 {
        sleep(LONG).await;
        match body.as_str() {
            "unavailable" => return (StatusCode::SERVICE_UNAVAILABLE, "later".into()),
            "panic" => panic!("on purpose"),
            _ => {}
        }
    }
    (StatusCode::CREATED, format!("run {run}"))
}

#[idempotent(scope = "global", on_conflict = "wait", wait = "20s", recover = "hold")]
async fn held(State(runs): State<Runs>) -> String {
    runs.add();
    sleep(LONG).await;
    panic!("on purpose")
}

fn routes() -> Router<App> {
    Router::new().route("/", routing::post(create)).route("/held", routing::post(held))
}

/// Two processes over one store that announces endings, and polls so good as never.
fn processes() -> (Server, Server) {
    let one = Server::new(routes());
    one.store.announces();
    let seldom = Idem::builder(one.store.clone()).poll_interval(Duration::from_hours(1));
    let idem = seldom.build().unwrap();
    let app = App { idem: idem.clone(), runs: one.runs.clone() };
    let (runs, store) = (one.runs.clone(), one.store.clone());
    let other = Server { router: routes().with_state(app), idem, runs, store };
    (one, other)
}

/// One request at one process, and as many as that at the other, which wait.
async fn waiting(
    one: &Server,
    other: &Server,
    uri: &str,
    body: &'static str,
    number: usize,
) -> (JoinHandle<Answer>, Vec<JoinHandle<Answer>>) {
    let send = |at: &Server| tokio::spawn(at.send(post(uri).key("k").body(body)));
    let first = send(one);
    sleep(Duration::from_millis(1)).await;
    let waiters = (0..number).map(|_| send(other)).collect();
    sleep(Duration::from_millis(1)).await;
    (first, waiters)
}

#[tokio::test(start_paused = true)]
async fn an_announced_ending_ends_the_wait_at_once() {
    for (body, run) in [("", "run 1"), ("unavailable", "run 2"), ("panic", "run 2")] {
        let (one, other) = processes();
        let start = Instant::now();
        let (first, waiters) = waiting(&one, &other, "/", body, 10).await;
        first.await.unwrap();
        for answer in join_all(waiters).await {
            let answer = answer.unwrap();
            assert_eq!((answer.status, answer.text()), (201, run));
        }
        assert_eq!(start.elapsed(), LONG);
        assert_eq!(one.store.arrived("not_in_flight"), 0);
        assert_eq!(one.store.arrived("claim"), 3, "one learns that it runs, and one that it has");
    }
}

#[tokio::test(start_paused = true)]
async fn an_announced_hold_ends_the_wait_at_once() {
    let (one, other) = processes();
    let start = Instant::now();
    let (first, waiters) = waiting(&one, &other, "/held", "", 10).await;
    assert_eq!(first.await.unwrap().problem(), "handler-panicked");
    for answer in join_all(waiters).await {
        assert_eq!(answer.unwrap().problem(), "outcome-unknown");
    }
    assert_eq!(start.elapsed(), LONG);
}

#[tokio::test(start_paused = true)]
async fn lost_announcements_have_the_store_asked_at_once() {
    let (one, other) = processes();
    one.store.fault("announce", Fault::Swallowed);
    let (first, waiters) = waiting(&one, &other, "/", "", 10).await;
    one.store.announces().announce(Announced::Lost);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(one.store.arrived("not_in_flight"), 1);
    first.await.unwrap();
    sleep(LONG).await;
    assert!(waiters.iter().all(|it| !it.is_finished()), "it was not announced");

    one.store.announces().announce(Announced::Lost);
    for answer in timeout(Duration::from_millis(1), join_all(waiters)).await.unwrap() {
        assert_eq!(answer.unwrap().text(), "run 1");
    }
    assert_eq!(one.store.arrived("not_in_flight"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_failed_is_soon_repeated() {
    let (one, other) = processes();
    one.store.fault("announce", Fault::Swallowed);
    let (first, waiters) = waiting(&one, &other, "/", "", 10).await;
    for fault in [Fault::Refused, Fault::Swallowed] {
        one.store.fault("not_in_flight", fault);
        one.store.announces().announce(Announced::Lost);
        sleep(LONG).await;
    }
    first.await.unwrap();
    assert!(waiters.iter().all(|it| !it.is_finished()), "nobody could see that it has ended");

    one.store.repair();
    for answer in timeout(Duration::from_secs(6), join_all(waiters)).await.unwrap() {
        assert_eq!(answer.unwrap().text(), "run 1");
    }
}

#[tokio::test(start_paused = true)]
async fn announcements_that_were_lost_before_anybody_waited_have_the_store_asked_once() {
    let (one, other) = processes();
    one.store.fault("announce", Fault::Swallowed);
    other.send(post("/").key("another")).await;
    one.store.announces().announce(Announced::Lost);
    sleep(Duration::from_millis(1)).await;
    let first = tokio::spawn(one.send(post("/held").key("k")));
    sleep(Duration::from_millis(1)).await;
    drop(tokio::spawn(other.send(post("/held").key("k"))));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(one.store.arrived("not_in_flight"), 1);
    first.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_ending_announced_while_a_claim_is_on_its_way_is_not_missed() {
    let (one, other) = processes();
    let first = tokio::spawn(one.send(post("/").key("k")));
    sleep(ALMOST_AS_LONG).await;
    // It is told that the record is in flight when it has ended already.
    one.store.fault("claim", Fault::AnswerLate(Duration::from_secs(1)));
    let late = tokio::spawn(other.send(post("/").key("k")));
    sleep(Duration::from_millis(5)).await;
    one.store.repair();
    first.await.unwrap();
    let answer = timeout(Duration::from_secs(2), late).await.unwrap().unwrap();
    assert_eq!(answer.text(), "run 1");
}

#[tokio::test(start_paused = true)]
async fn nothing_of_an_engine_outlives_it() {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for drains in [true, false] {
        let (one, other) = processes();
        let (first, waiters) = waiting(&one, &other, "/", "", 10).await;
        first.await.unwrap();
        join_all(waiters).await;
        assert!(tasks() > before, "it listens");
        if drains {
            let both = async { tokio::join!(one.idem.drain(), other.idem.drain()) };
            timeout(Duration::from_secs(1), both).await.expect("nobody waits for the next poll");
        } else {
            // The store is still there, and so are its announcements.
            let _store = one.store.clone();
            drop((one, other));
        }
        sleep(Duration::from_millis(1)).await;
        assert_eq!(tasks(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn an_announcement_that_comes_too_early_does_not_cost_the_right_one() {
    // The same record in another store.
    let (elsewhere, _) = processes();
    let mut announcements = elsewhere.store.announces().announcements();
    elsewhere.send(post("/").key("k")).await;
    let too_early = announcements.next().await;

    let (one, other) = processes();
    let (first, waiters) = waiting(&one, &other, "/", "", 2).await;
    sleep(ALMOST_AS_LONG).await;
    // One of them is told that it still runs when the other one has learned that it does not.
    one.store.fault("claim", Fault::AnswerLate(Duration::from_secs(1)));
    one.store.announces().announce(too_early);
    sleep(Duration::from_millis(1)).await;
    one.store.repair();
    first.await.unwrap();
    for answer in timeout(Duration::from_secs(2), join_all(waiters)).await.unwrap() {
        assert_eq!(answer.unwrap().text(), "run 1");
    }
}
