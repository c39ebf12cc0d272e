//! Which tiers there are, and which of them are live.

use std::{env, error::Error, sync::Arc};

use axum::body::Bytes;
use demo::Database;
use idem::{Cache, CacheError, CacheHealth, Found, Idem, RedisCache, StoreError, async_trait};
use serde::Serialize;
use tokio::time::Instant;

/// The cache that `REDIS_URL` names. A server that is not there may come, so none is waited for. What is
/// no url is a cache that never works: requests do not suffer from it, and everybody who looks sees it.
pub(crate) fn cache() -> Option<Arc<dyn Cache>> {
    let url = match env::var("REDIS_URL") {
        Ok(url) if !url.trim().is_empty() => url,
        Ok(_) | Err(env::VarError::NotPresent) => return None,
        Err(error) => return Some(Arc::new(Misconfigured::of(error))),
    };
    match RedisCache::builder(url).prefix("projects:").open() {
        Ok(cache) => Some(Arc::new(cache)),
        Err(error) => Some(Arc::new(Misconfigured::of(error))),
    }
}

/// What takes the place of a cache that cannot be.
#[derive(Debug)]
struct Misconfigured;

impl Misconfigured {
    fn of(error: impl Error + 'static) -> Self {
        let error = &error as &dyn Error;
        tracing::error!(error, "REDIS_URL names no Redis server: there will be no cache");
        Self
    }
}

const MISCONFIGURED: &str = "REDIS_URL names no Redis server";

#[async_trait]
impl Cache for Misconfigured {
    async fn get(&self, _: &[u8; 32]) -> Result<Option<Found>, CacheError> {
        Err(MISCONFIGURED.into())
    }

    async fn put(&self, _: &[u8; 32], _: Bytes, _: Instant) -> Result<(), CacheError> {
        Err(MISCONFIGURED.into())
    }
}

/// Which tiers are live.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Tiers {
    durable: &'static str,
    pub(crate) cache: &'static str,
}

/// Asks them now.
///
/// # Errors
///
/// When the durable one is not.
pub(crate) async fn live<D>(idem: &Idem<D>, database: &Database) -> Result<Tiers, StoreError> {
    let health = idem.health().await?;
    Ok(Tiers {
        durable: match database {
            Database::Sqlite(_) => "sqlite",
            Database::Postgres(_) => "postgres",
        },
        cache: match health.cache {
            CacheHealth::None => "none",
            CacheHealth::Up => "redis",
            CacheHealth::Down => "down",
        },
    })
}

/// Asks them a few times: a cache may take a moment for the first answer.
pub(crate) async fn at_start<D>(idem: &Idem<D>, database: &Database) -> Result<Tiers, StoreError> {
    let mut tiers = live(idem, database).await?;
    for _ in 0..3 {
        if tiers.cache != "down" {
            break;
        }
        tiers = live(idem, database).await?;
    }
    Ok(tiers)
}

impl Tiers {
    /// So that nobody has to find out from duplicates what is not there.
    pub(crate) fn log(self) {
        let Self { durable, cache } = self;
        match cache {
            "down" => tracing::error!(
                durable,
                cache,
                "the cache that REDIS_URL names does not work: all replays come from the database"
            ),
            "none" => tracing::warn!(
                durable,
                cache,
                "REDIS_URL is not set: all replays come from the database"
            ),
            _ => tracing::info!(durable, cache, "both tiers are live"),
        }
    }
}
