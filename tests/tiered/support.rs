//! A service on Postgres whose handlers leave a row for each time that they run.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{FromRef, State},
    http::{HeaderMap, Request, StatusCode},
    response::IntoResponse,
    routing::post,
};
use futures_util::future::join_all;
use idem::{Cache, Idem, PostgresStore, Tiered, Tx, idempotent};
use sqlx::{PgPool, Postgres};
use tower::ServiceExt;

use crate::database::Database;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Both ways to run a handler.
pub(crate) const PATHS: [&str; 2] = ["/leased", "/transactional"];

/// A process of the service.
#[derive(Clone, FromRef)]
pub(crate) struct Service {
    pub(crate) idem: Idem<Postgres>,
    pool: PgPool,
}

const EFFECT: &str = "INSERT INTO effects DEFAULT VALUES RETURNING number";

#[idempotent(scope = "global", on_conflict = "wait", wait = "1m")]
async fn leased(State(pool): State<PgPool>) -> impl IntoResponse {
    let number: i64 = sqlx::query_scalar(EFFECT).fetch_one(&pool).await.unwrap();
    (StatusCode::CREATED, [("X-Number", number.to_string())], format!("effect {number}"))
}

#[idempotent(scope = "global", on_conflict = "wait", wait = "1m")]
async fn transactional(mut tx: Tx<Postgres>) -> impl IntoResponse {
    let number: i64 = sqlx::query_scalar(EFFECT).fetch_one(&mut *tx).await.unwrap();
    (StatusCode::CREATED, [("X-Number", number.to_string())], format!("effect {number}"))
}

/// Makes what the handlers write into.
pub(crate) async fn prepared(database: Database) -> Database {
    database.execute("CREATE TABLE effects (number bigserial PRIMARY KEY)").await;
    database
}

impl Service {
    pub(crate) async fn with(cache: impl Cache, database: &Database) -> Self {
        Self::over(Tiered::new(cache, database.store().await), &database.url).await
    }

    pub(crate) async fn over(store: Tiered<PostgresStore>, url: &str) -> Self {
        let idem = Idem::builder(store).build().unwrap();
        Self { idem, pool: PgPool::connect(url).await.unwrap() }
    }

    pub(crate) async fn send(&self, path: &str, key: &str) -> Answer {
        let request = Request::post(path).header("Idempotency-Key", key);
        let request = request.body(Body::empty()).unwrap();
        let router = Router::new()
            .route("/leased", post(leased))
            .route("/transactional", post(transactional))
            .with_state(self.clone());
        let (head, body) = router.oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// Sends so many duplicates to all processes, and asserts that they are answered alike.
    pub(crate) async fn all_alike(&self, others: &[&Self], path: &str, key: &str, requests: usize) {
        let services: Vec<_> = std::iter::once(self).chain(others.iter().copied()).collect();
        let sent = (0..requests).map(|i| services[i % services.len()].send(path, key));
        let answers = join_all(sent).await;
        for answer in &answers {
            assert_eq!(answer.status, StatusCode::CREATED, "{path} {key}: {answer:?}");
            assert_eq!(answer.content(), answers[0].content(), "{path} {key}");
        }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn is_replay(&self) -> bool {
        self.headers.contains_key("Idempotency-Replayed")
    }

    fn content(&self) -> (StatusCode, &[u8], &str) {
        (self.status, self.headers["X-Number"].as_bytes(), &self.body)
    }
}

pub(crate) async fn effects(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM effects").await
}
