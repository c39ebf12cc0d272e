//! Duplicates that wait for an execution in another process, which tells when it has ended.

use std::time::Duration;

use axum::{
    Extension, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::future::join_all;
use idem::{Idem, PostgresStore, TransactionConflict, Tx, idempotent};
use sqlx::{PgPool, Postgres, postgres::PgPoolOptions};
use tokio::task::JoinHandle;

use crate::{
    proxy::{Protocol, Proxy},
    support::{
        Answer, Hold, Runs, Service, eventually, patiently,
        postgres::{other_process, service, url_of},
    },
};

/// What a run of a handler answers: the first one stays until it is released.
async fn run(runs: &Runs, hold: &Hold, body: &str) -> (StatusCode, String) {
    let run = runs.count();
    if run == 1 {
        hold.here().await;
        match body {
            "unavailable" => return (StatusCode::SERVICE_UNAVAILABLE, "later".into()),
            "panic" => panic!("on purpose"),
            _ => {}
        }
    }
    let status = if body == "refused" { StatusCode::CONFLICT } else { StatusCode::CREATED };
    (status, format!("run {run}"))
}

#[idempotent(scope = "global", on_conflict = "wait", wait = "5m")]
async fn leased(
    State(runs): State<Runs>,
    Extension(hold): Extension<Hold>,
    body: String,
) -> (StatusCode, String) {
    run(&runs, &hold, &body).await
}

#[idempotent(scope = "global", on_conflict = "wait", wait = "5m")]
async fn transactional(
    State(runs): State<Runs>,
    Extension(hold): Extension<Hold>,
    mut tx: Tx<Postgres>,
    body: String,
) -> (StatusCode, String) {
    sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
    run(&runs, &hold, &body).await
}

#[idempotent(scope = "global", on_conflict = "wait", wait = "5m", retries = 1)]
async fn conflicting(
    State(runs): State<Runs>,
    Extension(hold): Extension<Hold>,
    _: Tx<Postgres>,
) -> Response {
    let run = runs.count();
    if run == 1 {
        hold.here().await;
        let mut conflict = StatusCode::SERVICE_UNAVAILABLE.into_response();
        conflict.extensions_mut().insert(TransactionConflict);
        return conflict;
    }
    // For longer than the pause after a conflict.
    tokio::time::sleep(Duration::from_millis(100)).await;
    format!("run {run}").into_response()
}

fn router_of(handler: &str, hold: &Hold) -> Router<Service<Postgres>> {
    let endpoint = match handler {
        "leased" => post(leased),
        "transactional" => post(transactional),
        _ => post(conflicting),
    };
    Router::new().route("/notes", endpoint).layer(Extension(hold.clone()))
}

const NEVER: Duration = Duration::from_hours(1);

/// The service as another process that listens, connected by this URL.
async fn listener(service: &Service<Postgres>, url: &str, poll: Duration) -> Service<Postgres> {
    let transactions: PgPool = PgPoolOptions::new().max_connections(5).connect(url).await.unwrap();
    let store = PostgresStore::beside(&transactions).listen().connect().await.unwrap();
    service.clone().with(Idem::builder(store).poll_interval(poll).build().unwrap())
}

/// How many sessions listen, or have told something.
async fn sessions(service: &Service<Postgres>) -> i64 {
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND (query LIKE 'LISTEN%' OR query LIKE 'SELECT pg_notify%')";
    sqlx::query_scalar(sessions).fetch_one(&service.pool).await.unwrap()
}

/// Two processes that listen and never poll.
async fn processes() -> (Service<Postgres>, Service<Postgres>) {
    let service = service().await;
    let url = url_of(&service.pool);
    let one = listener(&service, &url, NEVER).await;
    let other = listener(&service, &url, NEVER).await;
    eventually(async || sessions(&service).await == 2).await;
    (one, other)
}

fn send(
    at: &Service<Postgres>,
    router: &Router<Service<Postgres>>,
    body: &'static str,
) -> JoinHandle<Answer> {
    let (service, router) = (at.clone(), router.clone());
    tokio::spawn(async move { service.post(&router, "k", body).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_runs_again_after_a_conflict_waits_for_a_process_that_was_faster() {
    for _ in 0..5 {
        let (one, other) = processes().await;
        let hold = Hold::new();
        let router = router_of("conflicting", &hold);
        let first = send(&one, &router, "");
        hold.arrival().await;
        let waiter = send(&other, &router, "");
        tokio::time::sleep(Duration::from_millis(200)).await;
        hold.release();
        for answer in [first, waiter] {
            let answer = patiently(answer).await.unwrap();
            assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "run 2"));
        }
    }
}

/// Sends a request to one process, and more to the other while it runs; lets it end, and returns
/// the answers of the others.
async fn answers_of_those_who_wait(
    (one, other): (&Service<Postgres>, &Service<Postgres>),
    handler: &str,
    body: &'static str,
) -> Vec<Answer> {
    let hold = Hold::new();
    let router = router_of(handler, &hold);
    let first = send(one, &router, body);
    hold.arrival().await;
    let waiters: Vec<_> = (0..20).map(|_| send(other, &router, body)).collect();
    // However many of them are waiting by then, the outcome is the same.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(waiters.iter().all(|it| !it.is_finished()));
    hold.release();
    patiently(first).await.unwrap();
    patiently(join_all(waiters)).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_wait_in_another_process_are_told_at_once() {
    for handler in ["leased", "transactional"] {
        for (body, status, run) in [
            ("", 201, "run 1"),
            ("refused", 409, "run 1"),
            ("unavailable", 201, "run 2"),
            ("panic", 201, "run 2"),
        ] {
            let (one, other) = processes().await;
            for answer in answers_of_those_who_wait((&one, &other), handler, body).await {
                assert_eq!((answer.status.as_u16(), &*answer.body), (status, run), "{handler}");
            }
            let runs = if run == "run 1" { 1 } else { 2 };
            assert_eq!(one.runs.so_far(), runs, "{handler}: {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_wait_while_their_process_is_cut_off_are_told_afterwards() {
    for handler in ["leased", "transactional"] {
        let (one, other) = processes().await;
        let hold = Hold::new();
        let router = router_of(handler, &hold);
        let first = send(&one, &router, "");
        hold.arrival().await;
        let waiter = send(&other, &router, "");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database()
                AND (query LIKE 'LISTEN%' OR query LIKE 'SELECT pg_notify%')";
        let ended: i64 = sqlx::query_scalar(end).fetch_one(&one.pool).await.unwrap();
        assert_eq!(ended, 2);
        hold.release();
        assert_eq!(patiently(first).await.unwrap().body, "run 1");
        assert_eq!(patiently(waiter).await.unwrap().body, "run 1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_listen_polls() {
    for handler in ["leased", "transactional"] {
        let service = service().await;
        let options = service.pool.connect_options();
        let proxy = Proxy::to(options.get_port(), Protocol::Postgres).await;
        proxy.let_nobody_listen();
        let [from, to] = [options.get_port(), proxy.port].map(|it| format!(":{it}/"));
        let url = format!("{}?sslmode=disable", url_of(&service.pool).replace(&from, &to));
        let poll = Duration::from_millis(100);
        let began = tokio::time::Instant::now();
        let one = listener(&service, &url, poll).await;
        let other = listener(&service, &url, poll).await;
        for answer in answers_of_those_who_wait((&one, &other), handler, "").await {
            assert_eq!((answer.status.as_u16(), &*answer.body), (201, "run 1"), "{handler}");
        }
        eventually(async || proxy.faults() >= 4).await;
        // A tenth of a second after the first attempt, and twice as long each time.
        let attempts = 2 * (1 + began.elapsed().as_millis().div_ceil(100).ilog2() + 1);
        assert!(proxy.faults() <= attempts as usize, "{} of {attempts}", proxy.faults());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hears_of_a_process_that_tells_nothing_polls() {
    let service = service().await;
    let silent = other_process(&service).await;
    let url = url_of(&service.pool);
    let other = listener(&service, &url, Duration::from_millis(100)).await;
    for answer in answers_of_those_who_wait((&silent, &other), "leased", "").await {
        assert_eq!((answer.status.as_u16(), &*answer.body), (201, "run 1"));
    }
}
