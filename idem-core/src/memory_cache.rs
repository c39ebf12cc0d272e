//! A cache in this process's memory.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use quick_cache::{Weighter, sync::Cache as Kept};
use tokio::time::Instant;

use crate::{
    cache::{Cache, CacheError, Found},
    record::RecordId,
    sync::lock,
};

/// A [`Cache`] in this process's memory, of bounded size: what is read least goes first.
///
/// Other processes do not see it. It holds what this one has executed or replayed.
///
/// Clones are the same cache.
///
/// ```
/// use idem_core::MemoryCache;
///
/// let cache = MemoryCache::new(64 * 1024 * 1024);
/// ```
#[derive(Clone)]
pub struct MemoryCache(Arc<Inner>);

struct Inner {
    kept: Kept<[u8; 32], Value, Size>,
    skipped: Mutex<Duration>,
}

/// A value, and when its time has passed, by whichever clock says so first: one stands still while the
/// machine sleeps, and the other one may be set back.
type Value = (Bytes, Instant, SystemTime);

#[derive(Clone)]
struct Size;

/// What a value takes besides its bytes, about.
const OVERHEAD: u64 = 200;

impl Weighter<[u8; 32], Value> for Size {
    fn weight(&self, _: &[u8; 32], (value, _, _): &Value) -> u64 {
        value.len() as u64 + OVERHEAD
    }
}

impl MemoryCache {
    /// An empty cache that takes up to about so many bytes. It keeps no answer that is larger.
    pub fn new(max_bytes: u64) -> Self {
        /// For sizing tables only.
        const USUAL_SIZE: u64 = 1024;
        let usual_number = usize::try_from(max_bytes / USUAL_SIZE).unwrap_or(usize::MAX);
        let kept = Kept::with_weighter(usual_number.clamp(16, 1 << 20), max_bytes, Size);
        Self(Arc::new(Inner { kept, skipped: Mutex::default() }))
    }

    /// Forgets a record, as after an operator's `DELETE`. Says whether it was there.
    pub fn forget(&self, id: &RecordId) -> bool {
        self.0.kept.remove(id.digest()).is_some()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.0.kept.clear();
    }

    /// Lets the cache's clock jump forward: for tests of what happens when an entry's time has passed.
    pub fn advance(&self, by: Duration) {
        *lock(&self.0.skipped) += by;
    }

    /// How far its clock is ahead.
    fn skipped(&self) -> Duration {
        *lock(&self.0.skipped)
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn get(&self, key: &[u8; 32]) -> Result<Option<Found>, CacheError> {
        let Some((value, until, and_until)) = self.0.kept.get(key) else { return Ok(None) };
        let skipped = self.skipped();
        let left = until.saturating_duration_since(Instant::now() + skipped);
        let and_left = and_until.duration_since(SystemTime::now() + skipped).unwrap_or_default();
        let expires_in = left.min(and_left);
        Ok((!expires_in.is_zero()).then_some(Found { value, expires_in }))
    }

    async fn put(&self, key: &[u8; 32], value: Bytes, until: Instant) -> Result<(), CacheError> {
        let (skipped, left) = (self.skipped(), until.saturating_duration_since(Instant::now()));
        let and_until = SystemTime::now() + left + skipped;
        self.0.kept.insert(*key, (value, until + skipped, and_until));
        Ok(())
    }
}

impl fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCache")
            .field("entries", &self.0.kept.len())
            .field("bytes", &self.0.kept.weight())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    async fn value(cache: &MemoryCache, key: u8) -> Option<Bytes> {
        cache.get(&[key; 32]).await.expect("it answers").map(|it| it.value)
    }

    async fn put(cache: &MemoryCache, key: u8, value: &'static [u8], life: Duration) {
        let until = Instant::now() + life;
        cache.put(&[key; 32], Bytes::from_static(value), until).await.expect("it is put");
    }

    #[tokio::test]
    async fn a_value_is_there_until_its_time_has_passed() {
        let cache = MemoryCache::new(1 << 20);
        put(&cache, 1, b"a", HOUR).await;
        cache.advance(HOUR / 2);
        put(&cache, 2, b"b", HOUR).await;
        let left = cache.get(&[1; 32]).await.expect("it answers").expect("a value").expires_in;
        assert!(left <= HOUR / 2 && left > HOUR / 3, "{left:?}");
        cache.advance(HOUR / 2);
        assert_eq!(value(&cache, 1).await, None);
        assert_eq!(value(&cache, 2).await, Some(Bytes::from_static(b"b")));
        put(&cache, 2, b"later", Duration::ZERO).await;
        assert_eq!(value(&cache, 2).await, None);
    }

    #[tokio::test]
    async fn the_last_value_counts() {
        let cache = MemoryCache::new(1 << 20);
        put(&cache, 1, b"a", HOUR).await;
        put(&cache, 1, b"b", HOUR).await;
        assert_eq!(value(&cache, 1).await, Some(Bytes::from_static(b"b")));
    }

    #[tokio::test]
    async fn it_takes_no_more_than_it_may() {
        static LARGE: [u8; 10_000] = [7; 10_000];
        static TOO_LARGE: [u8; 200_000] = [7; 200_000];
        let cache = MemoryCache::new(100_000);
        for key in 0..100 {
            put(&cache, key, &LARGE, HOUR).await;
            assert!(cache.0.kept.weight() <= 100_000);
        }
        let mut kept = 0;
        for key in 0..100 {
            kept += u32::from(value(&cache, key).await.is_some());
        }
        assert!((1..10).contains(&kept), "{kept} of them are kept");
        put(&cache, 200, &TOO_LARGE, HOUR).await;
        assert_eq!(value(&cache, 200).await, None);
    }
}
