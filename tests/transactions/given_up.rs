//! Statements that a handler gives up.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::post};
use idem::{Tx, idempotent};
use sqlx::Database;

use crate::support::{Runs, on_databases};

on_databases! { [postgres, sqlite] {
    async fn write(connection: &mut <Db as Database>::Connection, text: &str) {
        sqlx::query(INSERT_NOTE).bind(text).execute(connection).await.unwrap();
    }

    #[idempotent(scope = "global")]
    async fn is_impatient(State(runs): State<Runs>, mut tx: Tx<Db>) -> (StatusCode, String) {
        write(&mut tx, "before").await;
        if runs.count() == 1 {
            let slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)
                INSERT INTO notes SELECT 'slow' FROM n WHERE i = 300000";
            let slow = sqlx::query(slow).execute(&mut *tx);
            let _ = tokio::time::timeout(Duration::from_millis(1), slow).await;
        }
        write(&mut tx, "after").await;
        (StatusCode::CREATED, "done".into())
    }

    /// A statement that nobody waits for runs to its end all the same.
    #[tokio::test]
    async fn a_statement_that_was_given_up_does_not_confuse_those_after_it() {
        let service = service().await;
        let router = Router::new().route("/notes", post(is_impatient));
        assert_eq!(service.send(&router, "k").await.body, "done");
        let notes = service.notes().await;
        assert!(notes == ["after", "before"] || notes == ["after", "before", "slow"], "{notes:?}");
        assert!(service.send(&router, "k").await.is_replay());
    }
} }
