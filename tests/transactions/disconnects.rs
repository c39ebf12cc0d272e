//! Clients that go away, and store timeouts, at every await.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use axum::{Router, body::Body, extract::State, http::StatusCode, routing::post};
use futures_util::{StreamExt, future::try_join_all, stream};
use idem::{Idem, MySqlStore, PostgresStore, SqliteStore, Tx, idempotent};
use idem_testkit::{MariaDbServer, PostgresServer};
use sqlx::{
    Database, MySql, Pool, Postgres, mysql::MySqlPoolOptions, pool::PoolOptions,
    postgres::PgPoolOptions,
};

use crate::support::{self, Answer, PATIENCE, Runs, Service, on_each_database, patiently};

/// Polls a future as often as it is woken, but not more often than this, and then drops it.
async fn poll_up_to<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A body that comes in pieces.
fn slow_body(text: &str) -> Body {
    let pieces: Vec<String> = text.chars().map(String::from).collect();
    Body::from_stream(stream::iter(pieces).then(|piece| async move {
        tokio::task::yield_now().await;
        Ok::<_, std::convert::Infallible>(piece)
    }))
}

/// What every connection of a pool must be fit for: what it says is written is there for all, and it
/// sees what others have written.
macro_rules! check_pool {
    ($pool:expr, $outside:expr, $count:expr) => {{
        let (pool, outside) = ($pool, $outside);
        let connections = (0..pool.options().get_max_connections()).map(|_| pool.acquire());
        let connections = patiently(try_join_all(connections)).await.unwrap();
        for mut connection in connections {
            sqlx::query("INSERT INTO checks VALUES (1)").execute(&mut *connection).await.unwrap();
            $count += 1;
            let count = "SELECT count(*) FROM checks";
            let seen: i64 = sqlx::query_scalar(count).fetch_one(outside).await.unwrap();
            assert_eq!(seen, $count, "an acknowledged write is visible to all");
            let seen: i64 = sqlx::query_scalar(count).fetch_one(&mut *connection).await.unwrap();
            assert_eq!(seen, $count, "every connection sees what is committed");
        }
    }};
}

on_each_database! {
    #[idempotent(scope = "global")]
    async fn create(State(runs): State<Runs>, mut tx: Tx<Db>, body: String) -> (StatusCode, String) {
        let run = runs.count();
        assert!(!body.ends_with("panic") || run % 2 == 0, "on purpose");
        sqlx::query(INSERT_NOTE).bind(&body).execute(&mut *tx).await.unwrap();
        tokio::task::yield_now().await;
        let status = if body.ends_with("no") { StatusCode::CONFLICT } else { StatusCode::CREATED };
        (status, body)
    }

    pub(super) async fn send(service: &Service<Db>, key: &str) -> Answer {
        let router = Router::new().route("/notes", post(create));
        service.post(&router, key, slow_body(key)).await
    }

    /// Until nobody is at it any more.
    pub(super) async fn settled(service: &Service<Db>, key: &str) -> Answer {
        patiently(async {
            loop {
                let answer = send(service, key).await;
                if !answer.is_transient() && !answer.status.is_server_error() {
                    return answer;
                }
            }
        })
        .await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_goes_away_at_any_time_leaves_one_execution_and_a_healthy_pool() {
        let (service, transactions) = small_service::<Db>().await;
        let mut checks = 0;
        for kind in ["yes", "no", "panic"] {
            let mut notes = service.notes().await;
            for polls in 0.. {
                let key = format!("{polls} {kind}");
                let answered = patiently(poll_up_to(polls, send(&service, &key))).await.is_some();
                let answer = settled(&service, &key).await;
                assert_eq!(answer.body, key);
                let replay = send(&service, &key).await;
                assert!(replay.is_replay());
                assert_eq!((replay.status, &replay.body), (answer.status, &answer.body));
                if kind != "no" {
                    notes.push(key.clone());
                    notes.sort();
                }
                let mut all = service.notes().await;
                all.sort();
                assert_eq!(all, notes, "after {polls} polls");
                check_pool!(&transactions, &service.pool, checks);
                if answered {
                    break;
                }
            }
        }
    }
}

/// A service whose transactions have a pool that the test can look into.
mod small {
    use super::*;

    /// Connections are not tried before they are used, so that a begin is the first thing that
    /// happens on them.
    fn three<DB: Database>(options: PoolOptions<DB>) -> PoolOptions<DB> {
        options.max_connections(3).acquire_timeout(PATIENCE).test_before_acquire(false)
    }

    impl Service<Postgres> {
        pub(super) async fn with_small_pool(self, timeout: Duration) -> (Self, Pool<Postgres>) {
            sqlx::query(CHECKS).execute(&self.pool).await.unwrap();
            let url = support::postgres::url_of(&self.pool);
            let pool = three(PgPoolOptions::new()).connect(&url).await.unwrap();
            let store = PostgresStore::beside(&pool).statement_timeout(timeout / 2);
            let idem = Idem::builder(store.connect().await.unwrap()).store_timeout(timeout);
            (self.with(idem.build().unwrap()), pool)
        }
    }

    impl Service<MySql> {
        pub(super) async fn with_small_pool(self, timeout: Duration) -> (Self, Pool<MySql>) {
            sqlx::query(CHECKS).execute(&self.pool).await.unwrap();
            let url = support::mariadb::url_of(&self.pool);
            let pool = three(MySqlPoolOptions::new()).connect(&url).await.unwrap();
            let store = MySqlStore::beside(&pool).statement_timeout(timeout / 2);
            let idem = Idem::builder(store.connect().await.unwrap()).store_timeout(timeout);
            (self.with(idem.build().unwrap()), pool)
        }
    }
}

const CHECKS: &str = "CREATE TABLE checks (number int)";

trait Small: Database + Sized {
    async fn small() -> (Service<Self>, Pool<Self>);
}

impl Small for Postgres {
    async fn small() -> (Service<Self>, Pool<Self>) {
        let service = support::postgres::service().await;
        service.with_small_pool(Duration::from_secs(5)).await
    }
}

impl Small for MySql {
    async fn small() -> (Service<Self>, Pool<Self>) {
        let service = support::mariadb::service().await;
        service.with_small_pool(Duration::from_secs(5)).await
    }
}

impl Small for sqlx::Sqlite {
    async fn small() -> (Service<Self>, Pool<Self>) {
        let service = support::sqlite::service().await;
        let store = SqliteStore::open(support::sqlite::path_of(&service)).await.unwrap();
        let writer = store.writer().clone();
        sqlx::query(CHECKS).execute(&writer).await.unwrap();
        (service.with(Idem::builder(store).build().unwrap()), writer)
    }
}

async fn small_service<DB: Small>() -> (Service<DB>, Pool<DB>) {
    DB::small().await
}

/// Store timeouts on a frozen server leave the pool healthy.
macro_rules! freeze {
    ($database:ident, $server:expr) => {{
        let server = $server;
        let service = support::$database::service_on(&server).await;
        let (service, transactions) = service.with_small_pool(Duration::from_millis(500)).await;
        let mut checks = 0;
        for round in 0..3 {
            check_pool!(&transactions, &service.pool, checks);
            server.pause();
            let frozen = ["a", "b", "c"].map(|number| {
                let (service, key) = (service.clone(), format!("{round} {number}"));
                tokio::spawn(async move { $database::send(&service, &key).await })
            });
            for sent in frozen {
                let answer = patiently(sent).await.unwrap();
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
                assert_eq!(answer.problem(), "store-unavailable");
            }
            assert_eq!(service.runs.so_far(), 3 * round);
            server.resume();
            check_pool!(&transactions, &service.pool, checks);
            for number in ["a", "b", "c"] {
                let answer = $database::settled(&service, &format!("{round} {number}")).await;
                assert_eq!(answer.status, StatusCode::CREATED);
            }
            assert_eq!(service.notes().await.len(), 3 * (round as usize + 1));
        }
    }};
}

/// A dropped `begin()` of `sqlx` 0.9.0 leaves its connection inside of a transaction that nobody
/// knows of, so that what is acknowledged afterwards is lost:
/// <https://github.com/launchbadge/sqlx/issues/4385>.
#[tokio::test(flavor = "multi_thread")]
async fn store_timeouts_on_a_frozen_server_leave_the_pool_healthy() {
    freeze!(postgres, PostgresServer::start());
}

#[tokio::test(flavor = "multi_thread")]
async fn store_timeouts_on_a_frozen_mariadb_leave_the_pool_healthy() {
    freeze!(mariadb, MariaDbServer::start());
}
