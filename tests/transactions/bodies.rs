//! Response bodies: read before the commit, streamed after it, or never kept.

use axum::{Router, body::Body, extract::State, http::StatusCode, routing::post};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{Full, Limited};
use idem::{Tx, idempotent};
use sqlx::{Database, Pool};

use crate::support::{Runs, on_each_database};

on_each_database! {
    async fn write(connection: &mut <Db as Database>::Connection) {
        sqlx::query("INSERT INTO notes VALUES ('x')").execute(connection).await.unwrap();
    }

    async fn committed(pool: Pool<Db>) -> Result<String, std::convert::Infallible> {
        let query = sqlx::query_scalar("SELECT count(*) FROM notes");
        let count: i64 = query.fetch_one(&pool).await.unwrap();
        Ok(format!("{count} committed"))
    }

    #[idempotent(scope = "global")]
    async fn streams(
        State(runs): State<Runs>,
        State(pool): State<Pool<Db>>,
        mut tx: Tx<Db>,
    ) -> (StatusCode, Body) {
        runs.count();
        write(&mut tx).await;
        (StatusCode::CREATED, Body::from_stream(stream::once(committed(pool))))
    }

    #[tokio::test]
    async fn a_streamed_body_is_sent_after_the_commit_and_not_kept() {
        let service = service().await;
        let router = Router::new().route("/notes", post(streams));
        let first = service.send(&router, "k").await;
        assert_eq!((first.status, &*first.body), (StatusCode::CREATED, "1 committed"));
        for _ in 0..3 {
            let again = service.send(&router, "k").await;
            assert_eq!(again.status, StatusCode::CONFLICT);
            assert_eq!(again.problem(), "response-not-kept");
            assert!(!again.is_transient());
        }
        assert_eq!((service.notes().await.len(), service.records().await), (1, 1));
        assert_eq!(service.runs.so_far(), 1);
    }

    #[idempotent(scope = "global")]
    async fn breaks_off(State(runs): State<Runs>, mut tx: Tx<Db>) -> (StatusCode, Body) {
        write(&mut tx).await;
        // It says that it has 3 bytes, and then has more.
        let limit = if runs.count() == 1 { 3 } else { 100 };
        let body = Limited::new(Full::new(Bytes::from_static(b"complete")), limit);
        (StatusCode::CREATED, Body::new(body))
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_rolls_back_and_a_retry_executes() {
        let service = service().await;
        let router = Router::new().route("/notes", post(breaks_off));
        let first = service.send(&router, "k").await;
        assert_eq!(first.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(first.problem(), "not-committed");
        assert!(service.notes().await.is_empty());
        assert_eq!(service.records().await, 0);
        let again = service.send(&router, "k").await;
        assert_eq!((again.status, &*again.body), (StatusCode::CREATED, "complete"));
        assert!(service.send(&router, "k").await.is_replay());
        assert_eq!(service.notes().await.len(), 1);
    }

    #[idempotent(scope = "global")]
    async fn takes_along(State(runs): State<Runs>, mut tx: Tx<Db>) -> (StatusCode, Body) {
        write(&mut tx).await;
        if runs.count() > 1 {
            return (StatusCode::CREATED, Body::from("done"));
        }
        let chunks = stream::once(async move {
            write(&mut tx).await;
            Ok::<_, std::convert::Infallible>("streamed")
        });
        (StatusCode::CREATED, Body::from_stream(chunks))
    }

    #[tokio::test]
    async fn a_body_that_takes_the_transaction_along_is_an_error_and_commits_nothing() {
        let service = service().await;
        let router = Router::new().route("/notes", post(takes_along));
        let first = service.send(&router, "k").await;
        assert_eq!(first.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(first.problem(), "transaction-escaped");
        assert!(service.notes().await.is_empty());
        assert_eq!(service.records().await, 0);
        assert_eq!(service.send(&router, "k").await.body, "done");
        assert_eq!(service.notes().await.len(), 1);
    }

    #[idempotent(scope = "global", max_response = 10)]
    async fn answers(State(runs): State<Runs>, mut tx: Tx<Db>, body: String) -> (StatusCode, String) {
        runs.count();
        write(&mut tx).await;
        (StatusCode::CREATED, body)
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_committed_and_not_kept() {
        let service = service().await;
        let router = Router::new().route("/notes", post(answers));
        for (body, is_kept) in [("0123456789", true), ("0123456789+", false)] {
            let runs = service.runs.so_far();
            let first = service.post(&router, body, body).await;
            assert_eq!((first.status, &*first.body), (StatusCode::CREATED, body));
            let again = service.post(&router, body, body).await;
            if is_kept {
                assert!(again.is_replay());
                assert_eq!(again.body, body);
            } else {
                assert_eq!(again.problem(), "response-not-kept");
            }
            assert_eq!(service.runs.so_far(), runs + 1);
        }
        assert_eq!((service.notes().await.len(), service.records().await), (2, 2));
    }

    #[idempotent(scope = "global")]
    async fn empty(mut tx: Tx<Db>) -> StatusCode {
        write(&mut tx).await;
        StatusCode::NO_CONTENT
    }

    #[tokio::test]
    async fn no_body_is_kept_as_such() {
        let service = service().await;
        let router = Router::new().route("/notes", post(empty));
        for is_replay in [false, true, true] {
            let answer = service.send(&router, "k").await;
            assert_eq!((answer.status, &*answer.body), (StatusCode::NO_CONTENT, ""));
            assert_eq!(answer.is_replay(), is_replay);
        }
        assert_eq!(service.notes().await.len(), 1);
    }
}
