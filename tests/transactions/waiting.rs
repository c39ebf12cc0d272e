//! Duplicates that wait for an execution in a transaction, of which nothing is to be seen.

use std::time::Duration;

use axum::{Extension, Router, extract::State, http::StatusCode, routing::post};
use futures_util::future::join_all;
use idem::{Tx, idempotent};
use sqlx::Postgres;

use crate::support::{
    Hold, Runs, Service, patiently,
    postgres::{other_process, service},
};

#[idempotent(scope = "global", on_conflict = "wait", wait = "60s")]
async fn create(
    State(runs): State<Runs>,
    Extension(hold): Extension<Hold>,
    mut tx: Tx<Postgres>,
    body: String,
) -> (StatusCode, String) {
    let run = runs.count();
    sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
    if run == 1 {
        hold.here().await;
    }
    let fails = run == 1 && body == "fail";
    let status = if fails { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::CREATED };
    (status, format!("run {run}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_in_every_process_get_the_one_answer() {
    for body in ["", "fail"] {
        let service = service().await;
        let other = other_process(&service).await;
        let hold = Hold::new();
        let router = Router::new().route("/notes", post(create)).layer(Extension(hold.clone()));
        let send = |at: &Service<Postgres>| {
            let (service, router) = (at.clone(), router.clone());
            tokio::spawn(async move { service.post(&router, "k", body).await })
        };
        let first = send(&service);
        hold.arrival().await;
        // More of them than there are connections.
        let waiters: Vec<_> = (0..200).map(|it| send([&service, &other][it % 2])).collect();
        // However many of them are waiting by then, the outcome is the same.
        tokio::time::sleep(Duration::from_millis(300)).await;
        hold.release();
        let first = patiently(first).await.unwrap();
        let run = if body == "fail" { "run 2" } else { "run 1" };
        assert_eq!(first.status.is_success(), body.is_empty());
        for waiter in patiently(join_all(waiters)).await {
            let answer = waiter.unwrap();
            assert_eq!((answer.status, &*answer.body), (StatusCode::CREATED, run));
        }
        assert_eq!(service.notes().await.len(), 1);
    }
}
