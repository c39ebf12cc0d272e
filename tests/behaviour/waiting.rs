//! Duplicates that wait share the running execution's answer.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing};
use futures_util::future::join_all;
use idem::{Idem, idempotent};

use crate::support::{Answer, App, Fault, Runs, Server, post};

const LONG: Duration = Duration::from_secs(5);

#[idempotent(scope = "global", operation = "create", on_conflict = "wait", wait = "20s")]
async fn create(State(runs): State<Runs>, body: String) -> (StatusCode, String) {
    let run = runs.add();
    tokio::time::sleep(LONG).await;
    match body.as_str() {
        "unavailable" if run == 1 => (StatusCode::SERVICE_UNAVAILABLE, "later".into()),
        "panic" if run == 1 => panic!("on purpose"),
        _ => (StatusCode::CREATED, format!("run {run}")),
    }
}

#[idempotent(scope = "global", operation = "create")]
async fn impatient(State(runs): State<Runs>) -> String {
    runs.add().to_string()
}

#[idempotent(scope = "global", on_conflict = "wait", wait = "8s")]
async fn slower(State(runs): State<Runs>) -> String {
    tokio::time::sleep(2 * LONG).await;
    runs.add().to_string()
}

#[idempotent(scope = "global", on_conflict = "wait", recover = "hold")]
async fn held(State(runs): State<Runs>) -> String {
    runs.add();
    tokio::time::sleep(LONG).await;
    panic!("on purpose")
}

fn routes() -> Router<App> {
    Router::new()
        .route("/", routing::post(create))
        .route("/slower", routing::post(slower))
        .route("/held", routing::post(held))
}

/// A second process: another engine over the same store, with the same count of runs.
fn neighbour(of: &Server) -> Server {
    let idem = Idem::builder(of.store.clone()).build().unwrap();
    let app = App { idem: idem.clone(), runs: of.runs.clone() };
    Server {
        router: routes().with_state(app),
        idem,
        runs: of.runs.clone(),
        store: of.store.clone(),
    }
}

fn created(answers: &[Answer], run: &str) {
    for answer in answers {
        assert_eq!((answer.status, answer.text()), (201, run));
    }
    assert_eq!(answers.iter().filter(|it| !it.is_replay()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn duplicates_that_wait_all_get_the_same_answer() {
    let server = Server::new(routes());
    let answers = join_all((0..150).map(|_| tokio::spawn(server.send(post("/").key("k"))))).await;
    created(&answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), "run 1");
    assert_eq!(server.runs.count(), 1);
    assert_eq!(server.store.arrived("claim"), 1, "within one process nobody else asks the store");
}

#[tokio::test(start_paused = true)]
async fn across_processes_one_query_asks_for_all_who_wait() {
    let server = Server::new(routes());
    let other = neighbour(&server);
    let first = tokio::spawn(server.send(post("/").key("k")));
    while server.runs.count() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let waiters = (0..150).map(|_| tokio::spawn(other.send(post("/").key("k"))));
    let mut answers: Vec<_> = join_all(waiters).await.into_iter().map(Result::unwrap).collect();
    answers.push(first.await.unwrap());
    created(&answers, "run 1");
    assert_eq!(server.runs.count(), 1);
    // One of them found out for all that it runs elsewhere, and one what became of it.
    assert_eq!(server.store.arrived("claim"), 1 + 1 + 1);
    let polls = server.store.arrived("not_in_flight");
    assert!((45..=51).contains(&polls), "every 100 ms for 5 seconds: {polls}");
    tokio::time::sleep(LONG).await;
    assert_eq!(server.store.arrived("not_in_flight"), polls, "nobody waits any more");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_takes_over_where_the_execution_fails() {
    for body in ["unavailable", "panic"] {
        let server = Server::new(routes());
        let other = neighbour(&server);
        let first = tokio::spawn(server.send(post("/").key("k").body(body)));
        while server.runs.count() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let here = (0..10).map(|_| tokio::spawn(server.send(post("/").key("k").body(body))));
        let there = (0..10).map(|_| tokio::spawn(other.send(post("/").key("k").body(body))));
        let waiters: Vec<_> = here.chain(there).collect();
        assert!(first.await.unwrap().status >= 500);
        let answers: Vec<_> = join_all(waiters).await.into_iter().map(Result::unwrap).collect();
        created(&answers, "run 2");
        assert_eq!(server.runs.count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_long_enough_is_told_that_it_runs() {
    let server = Server::new(routes());
    let first = tokio::spawn(server.send(post("/slower").key("k")));
    tokio::task::yield_now().await;
    let start = tokio::time::Instant::now();
    let (here, there) = tokio::join!(
        server.send(post("/slower").key("k")),
        neighbour(&server).send(post("/slower").key("k"))
    );
    for waiter in [here, there] {
        assert_eq!(waiter.status, 409);
        assert_eq!(waiter.problem(), "in-flight");
        assert!(waiter.header("retry-after").is_some());
    }
    assert_eq!(start.elapsed(), Duration::from_secs(8));
    assert_eq!(first.await.unwrap().text(), "1");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_wait_is_told_at_once_though_others_wait() {
    let server = Server::new(routes());
    let other = neighbour(&server);
    let first = tokio::spawn(server.send(post("/").key("k")));
    while server.runs.count() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let waiters: Vec<_> =
        [&server, &other].map(|it| tokio::spawn(it.send(post("/").key("k")))).into_iter().collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let asked = server.store.arrived("claim");
    let start = tokio::time::Instant::now();
    for at in [server.idem.clone(), other.idem.clone()] {
        let app = App { idem: at, runs: server.runs.clone() };
        let router = Router::new().route("/", routing::post(impatient)).with_state(app.clone());
        let (idem, store) = (app.idem, server.store.clone());
        let impatient = Server { router, idem, runs: app.runs, store };
        assert_eq!(impatient.send(post("/").key("k")).await.problem(), "in-flight");
    }
    assert!(start.elapsed() < Duration::from_millis(10));
    assert_eq!(server.store.arrived("claim"), asked + 1, "where it runs elsewhere");
    let answers = join_all(waiters.into_iter().chain([first])).await;
    created(&answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), "run 1");
}

#[tokio::test(start_paused = true)]
async fn only_the_same_request_joins_those_who_wait_for_another_process() {
    let server = Server::new(routes());
    let other = neighbour(&server);
    let first = tokio::spawn(server.send(post("/").key("k")));
    let send = |body: &'static str| tokio::spawn(other.send(post("/").key("k").body(body)));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut waiters = vec![send(""), send("")];
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(server.store.arrived("claim"), 2);

    assert_eq!(send("other").await.unwrap().problem(), "mismatch");
    assert_eq!(server.store.arrived("claim"), 3);
    waiters.push(send(""));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(server.store.arrived("claim"), 3);

    waiters.push(first);
    created(&join_all(waiters).await.into_iter().map(Result::unwrap).collect::<Vec<_>>(), "run 1");
    assert!(send("").await.unwrap().is_replay(), "nobody waits any more");
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_the_last_one_that_waited_asks_the_store() {
    let server = Server::new(routes());
    let other = neighbour(&server);
    let first = tokio::spawn(server.send(post("/slower").key("k")));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let send = |body: &'static str| tokio::spawn(other.send(post("/slower").key("k").body(body)));
    let impatient = send("");
    tokio::time::sleep(Duration::from_secs(7)).await;
    // Its claim is on the way for longer than the other one waits.
    server.store.fault("claim", Fault::AnswerLate(Duration::from_secs(2)));
    let another = send("other");
    tokio::time::sleep(Duration::from_millis(1)).await;
    server.store.repair();
    assert_eq!(impatient.await.unwrap().problem(), "in-flight");
    assert!(!another.is_finished());
    let asked = server.store.arrived("claim");
    let late = send("");
    assert_eq!(another.await.unwrap().problem(), "mismatch");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(server.store.arrived("claim"), asked + 1);
    assert_eq!(late.await.unwrap().text(), first.await.unwrap().text());
}

#[tokio::test(start_paused = true)]
async fn another_request_with_the_key_does_not_wait() {
    let server = Server::new(routes());
    let first = tokio::spawn(server.send(post("/").key("k")));
    while server.runs.count() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let start = tokio::time::Instant::now();
    for at in [&server, &neighbour(&server)] {
        assert_eq!(at.send(post("/").key("k").body("other")).await.problem(), "mismatch");
    }
    assert!(start.elapsed() < Duration::from_millis(10));
    assert_eq!(first.await.unwrap().text(), "run 1");
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_learn_that_the_outcome_is_unknown() {
    let server = Server::new(routes());
    let other = neighbour(&server);
    let first = tokio::spawn(server.send(post("/held").key("k")));
    while server.runs.count() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let here = (0..10).map(|_| tokio::spawn(server.send(post("/held").key("k"))));
    let there = (0..10).map(|_| tokio::spawn(other.send(post("/held").key("k"))));
    let waiters: Vec<_> = here.chain(there).collect();
    assert_eq!(first.await.unwrap().problem(), "handler-panicked");
    let start = tokio::time::Instant::now();
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().problem(), "outcome-unknown");
    }
    assert!(start.elapsed() <= Duration::from_millis(200));
    assert_eq!(server.runs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_waiter_that_went_away_takes_over_is_answered_to_the_others() {
    let server = Server::new(routes());
    let first = tokio::spawn(server.send(post("/").key("k").body("unavailable")));
    while server.runs.count() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let gone = tokio::spawn(server.send(post("/").key("k").body("unavailable")));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let stays = tokio::spawn(server.send(post("/").key("k").body("unavailable")));
    tokio::time::sleep(Duration::from_millis(1)).await;
    gone.abort();
    assert_eq!(first.await.unwrap().status, 503);
    assert_eq!(stays.await.unwrap().text(), "run 2");
}
