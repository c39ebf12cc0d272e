//! Handlers that take a `Tx`, under keys that no client sent.

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Request, StatusCode},
    routing::post,
};
use idem::{Attempt, Tx, idempotent};

use crate::support::{Answer, Runs, Service, on_each_database, patiently};

on_each_database! {
    #[idempotent(scope = "global", key = "(body, 1)", retries = 1)]
    async fn derived(
        State(runs): State<Runs>,
        _: Attempt,
        mut tx: Tx<Db>,
        body: String,
    ) -> (StatusCode, String) {
        sqlx::query(INSERT_NOTE).bind(&body).execute(&mut *tx).await.unwrap();
        (StatusCode::CREATED, format!("{body} by {}", runs.count()))
    }

    async fn send(service: &Service<Db>, body: &'static str) -> Answer {
        let router = Router::new().route("/notes", post(derived));
        let request = Request::post("/notes").body(Body::from(body)).unwrap();
        service.send_request(&router, request).await
    }

    #[idempotent(scope = "global", fallback_key = "body")]
    async fn fallback(
        State(runs): State<Runs>,
        _: Attempt,
        mut tx: Tx<Db>,
        body: String,
    ) -> (StatusCode, String) {
        sqlx::query(INSERT_NOTE).bind(&body).execute(&mut *tx).await.unwrap();
        (StatusCode::CREATED, format!("{body} by {}", runs.count()))
    }

    #[tokio::test]
    async fn without_a_key_that_was_sent_the_fallback_commits_once() {
        let service = service().await;
        let router = Router::new().route("/notes", post(fallback));
        for (key, by) in [(Some("a"), "a by 1"), (None, "a by 2"), (Some("b"), "a by 3")] {
            for is_replay in [false, true] {
                let mut request = Request::post("/notes");
                if let Some(key) = key {
                    request = request.header("Idempotency-Key", key);
                }
                let request = request.body(Body::from("a")).unwrap();
                let answer = service.send_request(&router, request).await;
                assert_eq!((&*answer.body, answer.is_replay()), (by, is_replay), "{key:?}");
            }
        }
        assert_eq!(service.notes().await, ["a"; 3]);
        assert_eq!(keys(&service).await, ["a", "a", "b"]);
    }

    async fn keys(service: &Service<Db>) -> Vec<String> {
        let query = sqlx::query_scalar("SELECT idem.key FROM idem ORDER BY 1");
        query.fetch_all(&service.pool).await.unwrap()
    }

    #[tokio::test]
    async fn a_derived_key_commits_once_and_can_be_read() {
        let service = service().await;
        assert_eq!(send(&service, "a\n").await.body, "a\n by 1");
        let again = send(&service, "a\n").await;
        assert!(again.is_replay());
        assert_eq!((again.status, &*again.body), (StatusCode::CREATED, "a\n by 1"));
        assert_eq!(send(&service, "b").await.body, "b by 2");
        assert_eq!(service.notes().await, ["a\n", "b"]);
        assert_eq!(keys(&service).await, ["(a\\u{a}, 1)", "(b, 1)"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn concurrent_requests_of_one_intent_commit_once() {
        let here = service().await;
        let there = other_process(&here).await;
        let sending: Vec<_> = (0..20)
            .map(|i| {
                let service = if i % 2 == 0 { here.clone() } else { there.clone() };
                tokio::spawn(async move { send(&service, "a").await })
            })
            .collect();
        for answer in sending {
            let answer = patiently(answer).await.unwrap();
            assert!(answer.status == StatusCode::CREATED || answer.is_transient(), "{answer:?}");
        }
        assert_eq!(here.notes().await, ["a"]);
        assert!(send(&here, "a").await.is_replay());
    }
}
