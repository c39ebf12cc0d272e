//! Handlers that break the rules get a clear error, and nothing is reported as done that is not.

use axum::{Router, extract::State, http::StatusCode, routing::post};
use idem::{Tx, idempotent};
use sqlx::Connection;

use crate::support::{Runs, Service, on_each_database};

on_each_database! {
    #[idempotent(scope = "global")]
    async fn escapes(State(runs): State<Runs>, mut tx: Tx<Db>) -> &'static str {
        if runs.count() == 1 {
            tokio::spawn(async move {
                sqlx::query("INSERT INTO notes VALUES ('late')").execute(&mut *tx).await.unwrap();
                tokio::task::yield_now().await;
            });
        }
        "done"
    }

    #[tokio::test]
    async fn a_transaction_that_outlives_its_handler_is_an_error_and_commits_nothing() {
        let service = service().await;
        let router = Router::new().route("/notes", post(escapes));
        let first = service.send(&router, "k").await;
        assert_eq!(first.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(first.problem(), "transaction-escaped");
        // It is rolled back when it is dropped, which may be a little later.
        assert_eq!(service.settle(&router, "k").await.body, "done");
        assert!(service.notes().await.is_empty());
    }

    #[idempotent(scope = "global")]
    async fn commits(State(runs): State<Runs>, mut tx: Tx<Db>, body: String) -> &'static str {
        runs.count();
        sqlx::query("INSERT INTO notes VALUES ('own')").execute(&mut *tx).await.unwrap();
        for statement in body.split(';').map(str::to_owned) {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *tx).await.unwrap();
        }
        "done"
    }

    #[tokio::test]
    async fn a_handler_that_ends_its_transaction_is_not_recorded() {
        for (statements, left) in [
            ("COMMIT", 1),
            ("ROLLBACK", 0),
            ("COMMIT; BEGIN", 1),
            ("ROLLBACK; BEGIN; INSERT INTO notes VALUES ('second')", 0),
        ] {
            let service = service().await;
            let router = Router::new().route("/notes", post(commits));
            let request = http::Request::post("/notes").header("Idempotency-Key", "k");
            let request = request.body(statements.into()).unwrap();
            let answer = service.send_request(&router, request).await;
            assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{statements}");
            assert_eq!(answer.problem(), "transaction-ended", "{statements}");
            assert_eq!(service.records().await, 0, "{statements}");
            assert_eq!(service.notes().await.len(), left, "{statements}");
            // The connection is in order again.
            let request = http::Request::post("/notes").header("Idempotency-Key", "other");
            let request = request.body("SELECT 1".into()).unwrap();
            assert_eq!(service.send_request(&router, request).await.body, "done");
            assert_eq!(service.notes().await.len(), left + 1, "{statements}");
        }
    }

    /// `<how it ends the transaction>, <how it answers>`
    #[idempotent(scope = "global")]
    async fn ends_and_fails(State(runs): State<Runs>, mut tx: Tx<Db>, body: String) -> StatusCode {
        runs.count();
        let (how, answer) = body.split_once(", ").unwrap();
        if how == "nested" {
            // The driver takes back what it did not begin, which is everything.
            tx.begin_with("BEGIN").await.map(drop).unwrap_err();
        } else {
            let statements = how.to_owned();
            sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut *tx).await.unwrap();
        }
        sqlx::query("INSERT INTO notes VALUES ('apart')").execute(&mut *tx).await.unwrap();
        assert_ne!(answer, "panic", "on purpose");
        StatusCode::from_u16(answer.parse().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_handler_that_ends_its_transaction_and_fails_is_not_believed_either() {
        for how in ["COMMIT", "ROLLBACK", "COMMIT; BEGIN", "nested"] {
            for answer in ["201", "422", "503", "panic"] {
                let service = service().await;
                let router = Router::new().route("/notes", post(ends_and_fails));
                let body = format!("{how}, {answer}");
                let first = service.post(&router, "k", body.clone()).await;
                assert_eq!(first.status, StatusCode::INTERNAL_SERVER_ERROR, "{body}");
                assert_eq!(first.problem(), "transaction-ended", "{body}");
                assert_eq!(service.records().await, 0, "{body}");
                // The connections are in order again.
                for number in 0..6 {
                    let answer = service.post(&router, &number.to_string(), body.clone()).await;
                    assert_eq!(answer.problem(), "transaction-ended", "{body}");
                }
            }
        }
    }

    #[idempotent(scope = "global")]
    pub(super) async fn ignores_errors(State(runs): State<Runs>, mut tx: Tx<Db>) -> &'static str {
        if runs.count() == 1 {
            sqlx::query("INSERT INTO notes VALUES ('lost')").execute(&mut *tx).await.unwrap();
            let failed = sqlx::query("INSERT INTO notes VALUES (NULL)").execute(&mut *tx).await;
            failed.unwrap_err();
        }
        "done"
    }
}

/// On SQLite a statement that fails leaves the transaction as it was.
#[tokio::test]
async fn a_success_after_a_statement_that_failed_is_not_believed() {
    let service = crate::support::postgres::service().await;
    let router: Router<Service<_>> = Router::new().route("/notes", post(postgres::ignores_errors));
    let first = service.send(&router, "k").await;
    assert_eq!(first.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(first.problem(), "not-committed");
    assert_eq!(service.records().await, 0);
    assert_eq!(service.send(&router, "k").await.body, "done");
}

#[tokio::test]
async fn on_sqlite_a_statement_that_failed_leaves_the_others() {
    let service = crate::support::sqlite::service().await;
    let router: Router<Service<_>> = Router::new().route("/notes", post(sqlite::ignores_errors));
    assert_eq!(service.send(&router, "k").await.body, "done");
    assert_eq!(service.notes().await, ["lost"]);
}
