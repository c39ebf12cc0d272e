//! A service that writes notes, on each database.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::FromRef,
    http::{HeaderMap, Request, StatusCode},
};
use idem::Idem;
use sqlx::{Database, Pool};
use tokio::{
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tower::ServiceExt;

/// Writes a test file's handlers and tests once for each database. They see the database as `Db`,
/// `service()` makes a [`Service`] with an empty one, and `INSERT_NOTE` writes a note with a parameter.
macro_rules! on_each_database {
    ($($items:item)*) => {
        crate::support::on_databases! { [postgres, mariadb, sqlite] { $($items)* } }
    };
}
pub(crate) use on_each_database;

/// The same for some of them.
macro_rules! on_databases {
    ([$($database:ident),*] $items:tt) => {
        $(crate::support::on_database! { $database $items })*
    };
}
pub(crate) use on_databases;

macro_rules! on_database {
    ($database:ident { $($items:item)* }) => {
        mod $database {
            #[allow(unused_imports, reason = "not every file needs everything")]
            use super::*;
            #[allow(unused_imports, reason = "not every file needs everything")]
            use crate::support::$database::{Db, INSERT_NOTE, other_process, service};
            $($items)*
        }
    };
}
pub(crate) use on_database;

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

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Holds handlers where they say so, until the test lets them go on. Handlers take it as an
/// [`Extension`](axum::Extension).
#[derive(Clone)]
pub(crate) struct Hold(Arc<[Semaphore; 2]>);

impl Hold {
    pub(crate) fn new() -> Self {
        Self(Arc::new([Semaphore::new(0), Semaphore::new(0)]))
    }

    /// For handlers: says that one is here, and waits for a release.
    pub(crate) async fn here(&self) {
        self.0[0].add_permits(1);
        self.0[1].acquire().await.unwrap().forget();
    }

    /// Waits until another handler is there.
    pub(crate) async fn arrival(&self) {
        patiently(self.0[0].acquire()).await.unwrap().forget();
    }

    /// Lets one handler go on.
    pub(crate) fn release(&self) {
        self.0[1].add_permits(1);
    }
}

/// Waits for what must come.
pub(crate) async fn patiently<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("this takes too long")
}

/// Waits until something is so.
pub(crate) async fn eventually(is_so: impl AsyncFn() -> bool) {
    patiently(async {
        while !is_so().await {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// The router state of every test.
pub(crate) struct Service<DB: Database> {
    pub(crate) idem: Idem<DB>,
    /// For looking from outside.
    pub(crate) pool: Pool<DB>,
    pub(crate) runs: Runs,
    file: Arc<Option<tempfile::TempDir>>,
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

    /// Sends a request with a key and a body.
    pub(crate) async fn post(
        &self,
        router: &Router<Self>,
        key: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let request = Request::post("/notes").header("Idempotency-Key", key);
        self.send_request(router, request.body(body.into()).unwrap()).await
    }

    /// Sends a request with a key, in the background.
    pub(crate) fn sending(&self, router: &Router<Self>, key: &str) -> JoinHandle<Answer> {
        let (service, router, key) = (self.clone(), router.clone(), key.to_owned());
        tokio::spawn(async move { service.send(&router, &key).await })
    }

    /// Repeats a request until it is not refused for now.
    pub(crate) async fn settle(&self, router: &Router<Self>, key: &str) -> Answer {
        patiently(async {
            loop {
                let answer = self.send(router, key).await;
                if !answer.is_transient() {
                    return answer;
                }
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
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
            file: self.file.clone(),
        }
    }
}

impl<DB: Database> FromRef<Service<DB>> for Idem<DB> {
    fn from_ref(service: &Service<DB>) -> Self {
        service.idem.clone()
    }
}

impl<DB: Database> FromRef<Service<DB>> for Pool<DB> {
    fn from_ref(service: &Service<DB>) -> Self {
        service.pool.clone()
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

    /// Whether the client is asked to try again.
    pub(crate) fn is_transient(&self) -> bool {
        self.headers.contains_key("Retry-After")
    }

    /// The last part of the problem's type.
    pub(crate) fn problem(&self) -> String {
        let problem: serde_json::Value =
            serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no problem: {self:?}"));
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

    pub(crate) const INSERT_NOTE: &str = "INSERT INTO notes VALUES ($1)";

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
        service_on(PostgresServer::shared()).await
    }

    pub(crate) async fn service_on(server: &PostgresServer) -> Service<Db> {
        let url = server.fresh_database();
        let pool = PgPool::connect(&url).await.unwrap();
        sqlx::query(NOTES).execute(&pool).await.unwrap();
        let idem = engine(&url).await;
        Service { idem, pool, runs: Runs::default(), file: Arc::new(None) }
    }

    /// The service as another process on the same database.
    pub(crate) async fn other_process(service: &Service<Db>) -> Service<Db> {
        service.clone().with(engine(&url_of(&service.pool)).await)
    }

    /// With this user and these options.
    pub(crate) fn url_of(pool: &PgPool) -> String {
        let options = pool.connect_options();
        let (host, port) = (options.get_host(), options.get_port());
        let (user, database) = (options.get_username(), options.get_database().unwrap());
        format!("postgres://{user}@{host}:{port}/{database}")
    }

    /// An engine as another process would have it, with 5 connections for handlers.
    pub(crate) async fn engine(url: &str) -> Idem<Db> {
        let transactions = PgPoolOptions::new().max_connections(5).connect(url).await.unwrap();
        let store = PostgresStore::beside(&transactions).connect().await.unwrap();
        store.migrate().await.unwrap();
        Idem::builder(store).build().unwrap()
    }
}

pub(crate) mod mariadb {
    use std::sync::Arc;

    use idem::{Idem, MySqlStore};
    use idem_testkit::MariaDbServer;
    use sqlx::{MySqlPool, mysql::MySqlPoolOptions};

    use super::{NOTES, Runs, Service};

    pub(crate) type Db = sqlx::MySql;

    pub(crate) const INSERT_NOTE: &str = "INSERT INTO notes VALUES (?)";

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
        service_on(MariaDbServer::shared()).await
    }

    pub(crate) async fn service_on(server: &MariaDbServer) -> Service<Db> {
        let url = server.fresh_database();
        let pool = MySqlPool::connect(&url).await.unwrap();
        sqlx::query(NOTES).execute(&pool).await.unwrap();
        let idem = engine(&url).await;
        Service { idem, pool, runs: Runs::default(), file: Arc::new(None) }
    }

    /// The service as another process on the same database.
    pub(crate) async fn other_process(service: &Service<Db>) -> Service<Db> {
        service.clone().with(engine(&url_of(&service.pool)).await)
    }

    pub(crate) fn url_of(pool: &MySqlPool) -> String {
        let options = pool.connect_options();
        let (host, port, user) = (options.get_host(), options.get_port(), options.get_username());
        format!("mysql://{user}@{host}:{port}/{}", options.get_database().unwrap())
    }

    /// An engine as another process would have it, with 5 connections for handlers.
    pub(crate) async fn engine(url: &str) -> Idem<Db> {
        let transactions = MySqlPoolOptions::new().max_connections(5).connect(url).await.unwrap();
        let store = MySqlStore::beside(&transactions).connect().await.unwrap();
        store.migrate().await.unwrap();
        Idem::builder(store).build().unwrap()
    }
}

pub(crate) mod sqlite {
    use std::{path::PathBuf, sync::Arc};

    use idem::{Idem, SqliteStore};

    use super::{NOTES, Runs, Service};

    pub(crate) type Db = sqlx::Sqlite;

    pub(crate) const INSERT_NOTE: &str = "INSERT INTO notes VALUES ($1)";

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

    /// The service as another process on the same file.
    pub(crate) async fn other_process(service: &Service<Db>) -> Service<Db> {
        let store = SqliteStore::open(path_of(service)).await.unwrap();
        service.clone().with(Idem::builder(store).build().unwrap())
    }

    pub(crate) fn path_of(service: &Service<Db>) -> PathBuf {
        service.pool.connect_options().get_filename().to_owned()
    }

    pub(crate) async fn service() -> Service<Db> {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path().join("notes.db")).await.unwrap();
        store.migrate().await.unwrap();
        sqlx::query(NOTES).execute(store.writer()).await.unwrap();
        let pool = store.readers().clone();
        let idem = Idem::builder(store).build().unwrap();
        Service { idem, pool, runs: Runs::default(), file: Arc::new(Some(directory)) }
    }
}
