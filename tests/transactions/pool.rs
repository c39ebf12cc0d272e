//! Transactions on small pools.

use axum::{Extension, Router, extract::State, http::StatusCode, routing::post};
use idem::{Idem, PostgresStore, Tx, idempotent};
use sqlx::{Postgres, postgres::PgPoolOptions};
use tokio::task::JoinSet;

use crate::support::{
    Hold, Runs, Service, patiently,
    postgres::{other_process, service, url_of},
};

#[idempotent(scope = "global")]
async fn create(
    State(runs): State<Runs>,
    Extension(hold): Extension<Hold>,
    mut tx: Tx<Postgres>,
    body: String,
) -> (StatusCode, String) {
    let run = runs.count();
    sqlx::query("INSERT INTO notes VALUES ($1)").bind(&body).execute(&mut *tx).await.unwrap();
    match body.as_str() {
        "slow" => hold.here().await,
        "invalid" => return (StatusCode::UNPROCESSABLE_ENTITY, format!("no, {run}")),
        _ => {}
    }
    (StatusCode::CREATED, format!("run {run}"))
}

fn router(hold: &Hold) -> Router<Service<Postgres>> {
    Router::new().route("/notes", post(create)).layer(Extension(hold.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_of_a_slow_request_do_not_keep_others_from_the_pool() {
    const DUPLICATES: usize = 500;
    const OTHERS: usize = 50;
    let one = service().await;
    let other = other_process(&one).await;
    let hold = Hold::new();
    let router = router(&hold);
    let slow = tokio::spawn({
        let (one, router) = (one.clone(), router.clone());
        async move { one.post(&router, "slow", "slow").await }
    });
    hold.arrival().await;
    let (mut duplicates, mut others) = (JoinSet::new(), JoinSet::new());
    for number in 0..DUPLICATES {
        let (service, router) =
            (if number % 2 == 0 { &one } else { &other }.clone(), router.clone());
        duplicates.spawn(async move { service.post(&router, "slow", "slow").await });
    }
    for number in 0..OTHERS {
        let (service, router) =
            (if number % 2 == 0 { &one } else { &other }.clone(), router.clone());
        others.spawn(async move { service.post(&router, &format!("{number}"), "quick").await });
    }
    for answer in patiently(others.join_all()).await {
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    }
    for answer in patiently(duplicates.join_all()).await {
        assert_eq!((answer.status, &*answer.problem()), (StatusCode::CONFLICT, "in-flight"));
    }
    assert!(!slow.is_finished());
    hold.release();
    assert_eq!(slow.await.unwrap().status, StatusCode::CREATED);
    assert_eq!(one.notes().await.len(), OTHERS + 1);
}

/// A service with one connection for transactions, and one for all else.
async fn narrow_service() -> Service<Postgres> {
    let service = service().await;
    let pool = PgPoolOptions::new().max_connections(1);
    let pool = pool.connect(&url_of(&service.pool)).await.unwrap();
    let store = PostgresStore::beside(&pool).max_connections(1).connect().await.unwrap();
    service.with(Idem::builder(store).build().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_is_enough_for_every_kind_of_answer() {
    let service = narrow_service().await;
    let router = router(&Hold::new());
    let send = async |key, body: &'static str| patiently(service.post(&router, key, body)).await;
    for round in 0..3 {
        let replayed = round > 0;
        let created = send("created", "quick").await;
        assert_eq!((created.status, created.is_replay()), (StatusCode::CREATED, replayed));
        let invalid = send("invalid", "invalid").await;
        assert_eq!(invalid.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!((&*invalid.body, invalid.is_replay()), ("no, 2", replayed));
        assert_eq!(send("created", "other").await.problem(), "mismatch");
    }
    assert_eq!(service.notes().await, ["quick"]);
    assert_eq!((service.records().await, service.runs.so_far()), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_queue_for_one_connection_all_get_their_turn() {
    const REQUESTS: usize = 40;
    let service = narrow_service().await;
    let router = router(&Hold::new());
    let mut tasks = JoinSet::new();
    for number in 0..REQUESTS {
        let (service, router) = (service.clone(), router.clone());
        tasks.spawn(async move {
            let body = if number % 2 == 0 { "quick" } else { "invalid" };
            service.post(&router, &format!("{number}"), body).await.status
        });
    }
    let statuses = patiently(tasks.join_all()).await;
    let created = statuses.iter().filter(|it| **it == StatusCode::CREATED).count();
    let invalid = statuses.iter().filter(|it| **it == StatusCode::UNPROCESSABLE_ENTITY).count();
    assert_eq!((created, invalid), (REQUESTS / 2, REQUESTS / 2), "{statuses:?}");
    assert_eq!(service.notes().await.len(), REQUESTS / 2);
}
