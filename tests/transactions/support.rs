//! A service that writes notes, on each database.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::FromRef,
    http::{HeaderMap, Request, StatusCode},
};
use idem::Idem;
use sqlx::{Database, Pool};
use tower::ServiceExt;

/// Writes a test file's handlers and tests once for each database. They see the database as `Db`,
/// and `service()` makes a [`Service`] with an empty one.
macro_rules! on_each_database {
    ($($items:item)*) => {
        mod postgres {
            #[allow(unused_imports, reason = "not every file needs everything")]
            use super::*;
            #[allow(unused_imports, reason = "not every file needs everything")]
            use crate::support::postgres::{Db, service};
            $($items)*
        }

        mod sqlite {
            #[allow(unused_imports, reason = "not every file needs everything")]
            use super::*;
            #[allow(unused_imports, reason = "not every file needs everything")]
            use crate::support::sqlite::{Db, service};
            $($items)*
        }
    };
}
pub(crate) use on_each_database;

/// How often handlers ran.
#[derive(Clone, Default)]
pub(crate) struct Runs(Arc<AtomicU32>);

impl Runs {
    /// Counts a run and says which one it is, from 1.
    pub(crate) fn count(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn so_far(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The router state of every test.
pub(crate) struct Service<DB: Database> {
    pub(crate) idem: Idem<DB>,
    /// For looking from outside.
    pub(crate) pool: Pool<DB>,
    pub(crate) runs: Runs,
    _file: Arc<Option<tempfile::TempDir>>,
}

impl<DB: Database> Service<DB> {
    pub(crate) fn with(self, idem: Idem<DB>) -> Self {
        Self { idem, ..self }
    }

    /// Sends a request with a key.
    pub(crate) async fn send(&self, router: &Router<Self>, key: &str) -> Answer {
        let request = Request::post("/notes").header("Idempotency-Key", key);
        self.send_request(router, request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn send_request(
        &self,
        router: &Router<Self>,
        request: Request<Body>,
    ) -> Answer {
        let response = router.clone().with_state(self.clone()).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: head.status, headers: head.headers, body }
    }
}

impl<DB: Database> Clone for Service<DB> {
    fn clone(&self) -> Self {
        Self {
            idem: self.idem.clone(),
            pool: self.pool.clone(),
            runs: self.runs.clone(),
            _file: self._file.clone(),
        }
    }
}

impl<DB: Database> FromRef<Service<DB>> for Idem<DB> {
    fn from_ref(service: &Service<DB>) -> Self {
        service.idem.clone()
    }
}

impl<DB: Database> FromRef<Service<DB>> for Runs {
    fn from_ref(service: &Service<DB>) -> Self {
        service.runs.clone()
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn is_replay(&self) -> bool {
        self.headers.contains_key("Idempotency-Replayed")
    }

    /// The last part of the problem's type.
    pub(crate) fn problem(&self) -> String {
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        problem["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
    }
}

const NOTES: &str = "CREATE TABLE notes (text text NOT NULL)";

pub(crate) mod postgres {
    use std::sync::Arc;

    use idem::{Idem, PostgresStore};
    use idem_testkit::PostgresServer;
    use sqlx::{PgPool, postgres::PgPoolOptions};

    use super::{NOTES, Runs, Service};

    pub(crate) type Db = sqlx::Postgres;

    impl Service<Db> {
        /// What is committed.
        pub(crate) async fn notes(&self) -> Vec<String> {
            let query = sqlx::query_scalar("SELECT text FROM notes ORDER BY 1");
            query.fetch_all(&self.pool).await.unwrap()
        }

        pub(crate) async fn records(&self) -> i64 {
            let query = sqlx::query_scalar("SELECT count(*) FROM idem");
            query.fetch_one(&self.pool).await.unwrap()
        }
    }

    pub(crate) async fn service() -> Service<Db> {
        let url = PostgresServer::shared().fresh_database();
        let pool = PgPool::connect(&url).await.unwrap();
        sqlx::query(NOTES).execute(&pool).await.unwrap();
        let idem = engine(&url).await;
        Service { idem, pool, runs: Runs::default(), _file: Arc::new(None) }
    }

    /// An engine as another process would have it, with 5 connections for handlers.
    pub(crate) async fn engine(url: &str) -> Idem<Db> {
        let transactions = PgPoolOptions::new().max_connections(5).connect(url).await.unwrap();
        let store = PostgresStore::beside(&transactions).connect().await.unwrap();
        store.migrate().await.unwrap();
        Idem::builder(store).build().unwrap()
    }
}

pub(crate) mod sqlite {
    use std::sync::Arc;

    use idem::{Idem, SqliteStore};

    use super::{NOTES, Runs, Service};

    pub(crate) type Db = sqlx::Sqlite;

    impl Service<Db> {
        /// What is committed.
        pub(crate) async fn notes(&self) -> Vec<String> {
            let query = sqlx::query_scalar("SELECT text FROM notes ORDER BY 1");
            query.fetch_all(&self.pool).await.unwrap()
        }

        pub(crate) async fn records(&self) -> i64 {
            let query = sqlx::query_scalar("SELECT count(*) FROM idem");
            query.fetch_one(&self.pool).await.unwrap()
        }
    }

    pub(crate) async fn service() -> Service<Db> {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path().join("notes.db")).await.unwrap();
        store.migrate().await.unwrap();
        sqlx::query(NOTES).execute(store.writer()).await.unwrap();
        let pool = store.readers().clone();
        let idem = Idem::builder(store).build().unwrap();
        Service { idem, pool, runs: Runs::default(), _file: Arc::new(Some(directory)) }
    }
}
