//! Executions in a transaction.

use axum::{Router, extract::State, routing::post};
use idem::{Tx, idempotent};
use sqlx::{Connection, Database, Executor};

use crate::support::{FAULTS, Runs, Service};

macro_rules! on_each_database {
    ([$($database:ident),*] $items:tt) => {$(
        on_database! { $database $items }
    )*};
}

macro_rules! on_database {
    ($database:ident { $($items:item)* }) => {
        mod $database {
            use super::*;
            use crate::support::$database::{Db, INSERT_NOTE, records, service};
            $($items)*
        }
    };
}

on_each_database! { [postgres, mariadb] {
type Outside = <Db as Database>::Connection;

#[idempotent(scope = "global")]
async fn write_note(State(runs): State<Runs>, mut tx: Tx<Db>) -> Result<String, String> {
    let run = runs.count();
    let insert = sqlx::query(INSERT_NOTE).bind(run.to_string());
    insert.execute(&mut *tx).await.map_err(|error| error.to_string())?;
    Ok(run.to_string())
}

#[idempotent(scope = "global")]
async fn write_note_slowly(State(runs): State<Runs>, mut tx: Tx<Db>) -> Result<String, String> {
    let run = runs.count();
    let insert = sqlx::query(INSERT_NOTE).bind(run.to_string());
    insert.execute(&mut *tx).await.map_err(|error| error.to_string())?;
    if run == 1 {
        runs.hold().await;
    }
    Ok(run.to_string())
}

async fn notes(connection: &mut Outside) -> Vec<String> {
    sqlx::query_scalar("SELECT text FROM notes").fetch_all(connection).await.unwrap()
}

async fn service_with_notes() -> (Service<Db>, Router<Service<Db>>, String, Outside) {
    let (service, url) = service().await;
    let mut outside = Outside::connect(&url).await.unwrap();
    outside.execute("CREATE TABLE notes (text text NOT NULL)").await.unwrap();
    let router =
        Router::new().route("/quick", post(write_note)).route("/slow", post(write_note_slowly));
    (service, router, url, outside)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_beginning_nothing_runs_and_a_retry_executes_once_the_wire_is_repaired() {
    for fault in FAULTS {
        let (service, router, url, mut outside) = service_with_notes().await;
        service.send(&router, "/quick", "before").await;
        service.proxy.fail(fault);
        let refused = service.send(&router, "/quick", "k").await;
        assert_eq!((refused.status.as_u16(), &*refused.problem()), (503, "store-unavailable"));
        assert_eq!(service.runs.so_far(), 1, "{fault:?}: it ran unguarded");
        service.proxy.repair();
        let answer = service.settle(&router, "/quick", "k").await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, "2"), "{fault:?}");
        assert!(service.send(&router, "/quick", "k").await.is_replay(), "{fault:?}");
        assert_eq!(notes(&mut outside).await, ["1", "2"], "{fault:?}");
        assert_eq!(records(&url).await, (2, 0), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_one_execution_commits_and_its_answer_is_the_one_that_counts() {
    for fault in FAULTS {
        let (service, router, url, mut outside) = service_with_notes().await;
        let running = service.sending(&router, "/slow", "k");
        service.runs.arrival().await;
        service.proxy.fail(fault);
        service.runs.release();
        let answer = running.await.unwrap();
        assert_eq!(answer.status, 503, "{fault:?}: {answer:?}");
        service.proxy.repair();
        let settled = service.settle(&router, "/slow", "k").await;
        assert_eq!(settled.status, 200, "{fault:?}: {settled:?}");
        assert_eq!(notes(&mut outside).await, [settled.body.as_str()], "{fault:?}");
        let retry = service.send(&router, "/slow", "k").await;
        assert!(retry.is_replay() && retry.body == settled.body, "{fault:?}: {retry:?}");
        assert_eq!(records(&url).await, (1, 0), "{fault:?}");
    }
}
} }
