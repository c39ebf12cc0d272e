//! Caches: where copies of answers may be kept, to be read faster than from the store.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

/// Why a cache could not answer.
pub type CacheError = Box<dyn Error + Send + Sync>;

/// Where [`Tiered`](crate::Tiered) keeps copies of completed records. It may forget any of them at any
/// time, and may fail at any time.
///
/// What it must never do is return a value when its time has passed. Whatever is put, is put in vain
/// after that, however late the cache comes to it.
///
/// Keys are digests, and values bytes that mean nothing to a cache; no two values are equal. A value
/// that comes back damaged, or that somebody else has put, is noticed.
///
/// Implement it with `#[async_trait]`. An operation may be dropped at any await: a timeout does that.
#[async_trait]
pub trait Cache: fmt::Debug + Send + Sync + 'static {
    /// Reads what was put last, unless its time has passed.
    ///
    /// # Errors
    ///
    /// Why the cache cannot answer.
    async fn get(&self, key: &[u8; 32]) -> Result<Option<Found>, CacheError>;

    /// Keeps a value until a time, in place of what was there.
    ///
    /// # Errors
    ///
    /// Why the cache does not.
    async fn put(&self, key: &[u8; 32], value: Bytes, until: Instant) -> Result<(), CacheError>;

    /// Says whether the cache works. It is asked in the background while the cache does not, and may
    /// take its time to connect again. The default reads what nobody has put.
    ///
    /// # Errors
    ///
    /// Why it does not.
    async fn check(&self) -> Result<(), CacheError> {
        self.get(&[0; 32]).await.map(drop)
    }
}

/// What a cache has kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The value that was put.
    pub value: Bytes,
    /// In how long its time has passed, and never more than that.
    pub expires_in: Duration,
}

/// A cache whose type was chosen at run time.
#[async_trait]
impl Cache for Arc<dyn Cache> {
    async fn get(&self, key: &[u8; 32]) -> Result<Option<Found>, CacheError> {
        (**self).get(key).await
    }

    async fn put(&self, key: &[u8; 32], value: Bytes, until: Instant) -> Result<(), CacheError> {
        (**self).put(key, value, until).await
    }

    async fn check(&self) -> Result<(), CacheError> {
        (**self).check().await
    }
}
