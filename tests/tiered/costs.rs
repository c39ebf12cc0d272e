//! What replays cost the durable store, as the server itself counts it.

use std::{sync::OnceLock, time::Duration};

use idem::{MemoryCache, PostgresStore, RedisCache, Tiered};
use idem_testkit::{PostgresServer, RedisServer};
use tokio::time::{Instant, timeout};

use crate::{
    database::Database,
    harness::{RedisKeys, patient},
    support::{PATHS, PATIENCE, Service, effects, prepared},
};

/// A server on which nothing happens but what the tests of this file do, in turn.
async fn quiet_database() -> Database {
    static SERVER: OnceLock<PostgresServer> = OnceLock::new();
    let database = prepared(Database::on(SERVER.get_or_init(PostgresServer::start)).await).await;
    database.execute("CREATE EXTENSION pg_stat_statements").await;
    let role = "DO $$ BEGIN CREATE ROLE app SUPERUSER LOGIN;
        EXCEPTION WHEN duplicate_object THEN NULL; END $$";
    database.execute(role).await;
    database
}

static IN_TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The statements that the service has sent since they were counted last.
async fn statements(database: &Database) -> i64 {
    let sum = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
        WHERE userid = 'app'::regrole";
    let sum = database.number(sum).await;
    database.execute("SELECT pg_stat_statements_reset()").await;
    sum
}

/// Repeats a request until it was replayed without the durable store: answers are cached behind the
/// backs of their requests.
async fn is_cached(service: &Service, database: &Database, path: &str, key: &str) {
    let start = Instant::now();
    loop {
        statements(database).await;
        assert!(service.send(path, key).await.is_replay());
        if statements(database).await == 0 {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{path} {key} is not cached");
    }
}

async fn store(database: &Database) -> PostgresStore {
    PostgresStore::connect(&of_app(database)).await.unwrap()
}

fn of_app(database: &Database) -> String {
    database.url.replace("postgres@", "app@")
}

#[tokio::test]
async fn a_cached_replay_asks_the_durable_store_nothing() {
    let _turn = IN_TURN.lock().await;
    for path in PATHS {
        let database = quiet_database().await;
        let memory = Tiered::new(MemoryCache::new(1 << 20), store(&database).await);
        let redis = RedisKeys::on(RedisServer::shared());
        let redis = patient(Tiered::new(redis.cache(), store(&database).await));
        for (tiers, store) in [("memory", patient(memory)), ("redis", redis)] {
            let service = Service::over(store, &of_app(&database)).await;
            assert!(!service.send(path, tiers).await.is_replay());
            assert!(statements(&database).await > 0, "a first request asks");
            is_cached(&service, &database, path, tiers).await;
            for _ in 0..20 {
                assert!(service.send(path, tiers).await.is_replay());
            }
            assert_eq!(statements(&database).await, 0, "{path}, {tiers}");
        }
    }
}

#[tokio::test]
async fn what_another_process_has_done_is_asked_for_once() {
    let _turn = IN_TURN.lock().await;
    for path in PATHS {
        let database = quiet_database().await;
        let open = async || {
            let store = Tiered::new(MemoryCache::new(1 << 20), store(&database).await);
            Service::over(patient(store), &of_app(&database)).await
        };
        let (one, other) = (open().await, open().await);
        one.send(path, "k").await;
        other.send(path, "another").await;
        statements(&database).await;
        assert!(other.send(path, "k").await.is_replay());
        assert!(statements(&database).await > 0, "its cache was cold");
        assert!(other.send(path, "k").await.is_replay());
        assert_eq!(statements(&database).await, 0, "{path}");
    }
}

/// What one process has done, another one replays from the cache that they share.
#[tokio::test]
async fn a_shared_cache_is_shared() {
    let _turn = IN_TURN.lock().await;
    for path in PATHS {
        let database = quiet_database().await;
        let keys = RedisKeys::on(RedisServer::shared());
        let open = async || {
            let store = patient(Tiered::new(keys.cache(), store(&database).await));
            Service::over(store, &of_app(&database)).await
        };
        let (one, other) = (open().await, open().await);
        one.send(path, "k").await;
        is_cached(&one, &database, path, "k").await;
        other.send(path, "another").await;
        statements(&database).await;
        assert!(other.send(path, "k").await.is_replay());
        assert_eq!(statements(&database).await, 0, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_answers_are_replayed_while_the_durable_store_is_down_and_nothing_else_is() {
    let server = PostgresServer::start();
    let database = prepared(Database::on(&server).await).await;
    let cache = MemoryCache::new(1 << 20);
    let store = PostgresStore::builder(database.url.parse().unwrap());
    let store = store.statement_timeout(Duration::from_secs(1)).connect().await.unwrap();
    let service = Service::over(patient(Tiered::new(cache, store)), &database.url).await;
    for path in PATHS {
        service.send(path, "k").await;
    }
    server.stop();
    for path in PATHS {
        let answer = timeout(PATIENCE, service.send(path, "k")).await.unwrap();
        assert!(answer.is_replay(), "{path}: {answer:?}");
        let refused = timeout(PATIENCE, service.send(path, "new")).await.unwrap();
        assert_eq!(refused.status, 503, "{path}: {refused:?}");
    }
    server.restart();
    assert_eq!(effects(&database).await, 2);
}

/// The type is that of the durable store: handlers that take its `Tx` compile.
#[tokio::test]
async fn tiers_can_be_stacked() {
    let database = prepared(Database::fresh().await).await;
    let keys = RedisKeys::on(RedisServer::shared());
    let redis: RedisCache = keys.cache();
    let inner = patient(Tiered::new(redis, database.store().await));
    let store = patient(Tiered::new(MemoryCache::new(1 << 20), inner));
    let idem = idem::Idem::<sqlx::Postgres>::builder(store).build().unwrap();
    assert_eq!(idem.health().await.unwrap().cache, idem::CacheHealth::Up);
}
