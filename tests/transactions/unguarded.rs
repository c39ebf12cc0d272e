//! Handlers that take a `Tx` and get a request without a key.

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    routing::post,
};
use idem::{Attempt, Tx, idempotent};

use crate::support::on_each_database;

on_each_database! {
    #[idempotent(scope = "global", required = false)]
    async fn create(attempt: Option<Attempt>, mut tx: Tx<Db>, body: String) -> (StatusCode, String) {
        sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
        match body.as_str() {
            "panic" => panic!("on purpose"),
            "end" => drop(sqlx::raw_sql("ROLLBACK").execute(&mut *tx).await.unwrap()),
            _ => {}
        }
        let status = StatusCode::from_u16(body.parse().unwrap_or(200)).unwrap();
        (status, format!("guarded: {}", attempt.is_some()))
    }

    #[idempotent(scope = "global", required = false, commit_on_error = true)]
    async fn audited(mut tx: Tx<Db>, body: String) -> StatusCode {
        sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
        StatusCode::from_u16(body.parse().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn with_commit_on_error_a_final_error_commits_without_a_key_too() {
        let service = service().await;
        let router = Router::new().route("/notes", post(audited));
        for (status, notes) in [("422", 1), ("503", 1), ("200", 2)] {
            let request = Request::post("/notes").body(Body::from(status)).unwrap();
            assert_eq!(service.send_request(&router, request).await.status.as_str(), status);
            assert_eq!(service.notes().await.len(), notes, "{status}");
        }
    }

    #[tokio::test]
    async fn a_request_without_a_key_commits_below_400_and_rolls_back_otherwise() {
        let service = service().await;
        let router = Router::new().route("/notes", post(create));
        for (body, status, notes) in [
            ("200", 200, 1),
            ("422", 422, 1),
            ("500", 500, 1),
            ("201", 201, 2),
            ("panic", 500, 2),
            ("end", 500, 2),
            ("303", 303, 3),
        ] {
            let request = Request::post("/notes").body(Body::from(body)).unwrap();
            let answer = service.send_request(&router, request).await;
            assert_eq!(answer.status, status, "{body}: {answer:?}");
            assert_eq!(service.notes().await.len(), notes, "{body}");
        }
        assert_eq!(service.records().await, 0);
        let guarded = service.send(&router, "k").await;
        assert_eq!(guarded.body, "guarded: true");
        assert!(service.send(&router, "k").await.is_replay());
    }
}
