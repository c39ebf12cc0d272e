//! Savepoints that a handler leaves behind.

use std::{future::poll_fn, pin::pin, task::Poll};

use axum::{Router, extract::State, http::StatusCode, routing::post};
use idem::{Tx, idempotent};
use sqlx::{Connection, Database, Sqlite};

use crate::support::{Runs, on_each_database};

on_each_database! {
    async fn write(connection: &mut <Db as Database>::Connection, text: &str) {
        sqlx::query(INSERT_NOTE).bind(text).execute(connection).await.unwrap();
    }

    #[idempotent(scope = "global")]
    async fn gives_up(State(runs): State<Runs>, mut tx: Tx<Db>, polls: String) -> (StatusCode, String) {
        write(&mut tx, "outside").await;
        let polls: u32 = if runs.count() == 1 { polls.parse().unwrap() } else { u32::MAX };
        let mut left = polls;
        {
            let mut begin = pin!(tx.begin());
            poll_fn(|context| {
                if left == 0 {
                    return Poll::Ready(());
                }
                left -= 1;
                begin.as_mut().poll(context).map(drop)
            })
            .await;
        }
        (StatusCode::CREATED, "done".into())
    }

    /// The driver ends the transaction then.
    #[tokio::test]
    async fn a_savepoint_that_was_given_up_while_it_was_made_loses_nothing_that_is_acknowledged() {
        for polls in ["0", "1", "2", "1000"] {
            let service = service().await;
            let router = Router::new().route("/notes", post(gives_up));
            let first = service.post(&router, "k", polls).await;
            let expected = usize::from(first.status == StatusCode::CREATED);
            assert_eq!(service.notes().await.len(), expected, "{polls}: {first:?}");
            assert_eq!(service.post(&router, "k", polls).await.body, "done");
            assert_eq!(service.notes().await, ["outside"]);
        }
    }

    #[idempotent(scope = "global")]
    async fn forgets(State(runs): State<Runs>, mut tx: Tx<Db>, status: String) -> StatusCode {
        if runs.count() == 1 {
            let mut savepoint = tx.begin().await.unwrap();
            write(&mut savepoint, "forgotten").await;
            std::mem::forget(savepoint);
        }
        write(&mut tx, "outside").await;
        StatusCode::from_u16(status.parse().unwrap()).unwrap()
    }

    /// The driver would end the savepoint in place of the transaction.
    #[tokio::test]
    async fn a_savepoint_that_was_forgotten_loses_nothing_that_is_acknowledged() {
        for status in ["201", "422", "503"] {
            let service = service().await;
            let router = Router::new().route("/notes", post(forgets));
            let first = service.post(&router, "k", status).await;
            if status == "201" {
                assert_eq!(first.problem(), "not-committed");
            } else {
                assert_eq!(first.status.as_str(), status);
            }
            assert!(service.notes().await.is_empty());
            for number in 0..10 {
                let answer = service.post(&router, &number.to_string(), status).await;
                assert_eq!(answer.status.as_str(), status, "{answer:?}");
            }
            let kept = if status == "201" { 10 } else { 0 };
            assert_eq!(service.notes().await, vec!["outside"; kept]);
        }
    }
}

/// A conflict resolution that rolls back takes the savepoint with it, and the transaction, as a full
/// disk would: the driver then takes both for open.
#[idempotent(scope = "global")]
async fn rolls_back(State(runs): State<Runs>, mut tx: Tx<Sqlite>, body: String) -> StatusCode {
    if runs.count() == 1 {
        let mut savepoint = tx.begin().await.unwrap();
        let insert = "INSERT OR ROLLBACK INTO notes VALUES (NULL)";
        sqlx::query(insert).execute(&mut *savepoint).await.unwrap_err();
        if body == "forget" {
            std::mem::forget(savepoint);
        }
    } else {
        sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
        if body == "forget" {
            std::mem::forget(tx.begin().await.unwrap());
        }
    }
    StatusCode::from_u16(body.parse().unwrap_or(201)).unwrap()
}

#[tokio::test]
async fn on_sqlite_a_transaction_that_ended_inside_of_a_savepoint_costs_no_other_request_its_answer()
 {
    for body in ["201", "422", "503", "forget"] {
        let service = crate::support::sqlite::service().await;
        let router = Router::new().route("/notes", post(rolls_back));
        let first = service.post(&router, "k", body).await;
        assert_ne!(first.status, StatusCode::CREATED, "{first:?}");
        assert!(service.notes().await.is_empty());
        for number in 0..10 {
            let answer = service.post(&router, &number.to_string(), body).await;
            if body == "forget" {
                assert_eq!(answer.problem(), "not-committed");
            } else {
                assert_eq!(answer.status.as_str(), body, "{answer:?}");
            }
        }
        assert_eq!(service.notes().await.len(), if body == "201" { 10 } else { 0 });
    }
}
