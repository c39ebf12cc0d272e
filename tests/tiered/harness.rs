//! What the conformance suite must be able to do from outside, to both tiers.

use std::{
    fmt::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use idem::{MemoryCache, PostgresStore, RecordId, RedisCache, Store, Tiered};
use idem_testkit::{Harness, RedisServer, async_trait};

use crate::{database::Database, file::File};

/// Longer than any record lives: how long an entry is kept is decided by that alone.
const FOREVER: Duration = Duration::from_hours(100 * 365 * 24);

/// A durable store, and what is in front of it.
pub(crate) enum Tiers {
    /// Each server has a cache of its own.
    MemoryOverSqlite(File, Mutex<Vec<MemoryCache>>),
    RedisOverPostgres(Database, RedisKeys),
}

impl Tiers {
    pub(crate) async fn memory_over_sqlite() -> Self {
        Self::MemoryOverSqlite(File::fresh().await, Mutex::default())
    }

    pub(crate) async fn redis_over_postgres() -> Self {
        let keys = RedisKeys::on(RedisServer::shared());
        Self::RedisOverPostgres(Database::fresh().await, keys)
    }

    fn durable(&self) -> &dyn Harness {
        match self {
            Self::MemoryOverSqlite(file, _) => file,
            Self::RedisOverPostgres(database, _) => database,
        }
    }

    /// As an operator would who does not want to wait for the cache.
    fn forget(&self, id: &RecordId) {
        match self {
            Self::MemoryOverSqlite(_, caches) => {
                for cache in caches.lock().unwrap().iter() {
                    cache.forget(id);
                }
            }
            Self::RedisOverPostgres(_, keys) => keys.forget(id),
        }
    }
}

#[async_trait]
impl Harness for Tiers {
    async fn open(&self) -> Arc<dyn Store> {
        match self {
            Self::MemoryOverSqlite(file, caches) => {
                let cache = MemoryCache::new(64 << 20);
                caches.lock().unwrap().push(cache.clone());
                Arc::new(Tiered::new(cache, file.store().await).max_age(FOREVER))
            }
            Self::RedisOverPostgres(database, keys) => {
                let options = database.url.parse().unwrap();
                let store = PostgresStore::builder(options).listen().connect().await.unwrap();
                Arc::new(patient(Tiered::new(keys.cache(), store)).max_age(FOREVER))
            }
        }
    }

    async fn delete(&self, id: &RecordId) {
        self.durable().delete(id).await;
        self.forget(id);
    }

    async fn set_version(&self, id: &RecordId, version: i16) {
        self.durable().set_version(id, version).await;
        self.forget(id);
    }

    async fn elapse(&self, by: Duration) {
        self.durable().elapse(by).await;
        match self {
            Self::MemoryOverSqlite(_, caches) => {
                caches.lock().unwrap().iter().for_each(|it| it.advance(by));
            }
            Self::RedisOverPostgres(_, keys) => keys.elapse(by),
        }
    }
}

/// A busy machine is not a slow cache.
pub(crate) fn patient<S: Store>(store: Tiered<S>) -> Tiered<S> {
    store.timeout(Duration::from_secs(10))
}

/// The keys of a prefix.
#[derive(Clone)]
pub(crate) struct RedisKeys {
    server: &'static RedisServer,
    prefix: String,
}

impl RedisKeys {
    pub(crate) fn on(server: &'static RedisServer) -> Self {
        Self { server, prefix: server.fresh_prefix() }
    }

    pub(crate) fn cache(&self) -> RedisCache {
        RedisCache::builder(self.server.url()).prefix(&self.prefix).open().unwrap()
    }

    /// The key of a record's entry.
    pub(crate) fn key(&self, id: &RecordId) -> String {
        let mut key = format!("{}{{{:02x}}}:", self.prefix, id.digest()[0]);
        id.digest().iter().for_each(|byte| write!(key, "{byte:02x}").unwrap());
        key
    }

    pub(crate) fn forget(&self, id: &RecordId) {
        self.server.command(&["DEL", &self.key(id)]);
    }

    fn elapse(&self, by: Duration) {
        const BACK: &str = "
            for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
                local left = redis.call('PTTL', key) - ARGV[2]
                redis.call('PEXPIRE', key, string.format('%.0f', math.max(left, 0)))
            end";
        let by = by.as_millis().to_string();
        self.server.command(&["EVAL", BACK, "0", &self.prefix, &by]);
    }
}
