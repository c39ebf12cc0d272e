//! The cache as requests meet it: asked for a short time or not at all, and written to behind their
//! backs.

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::{
    sync::Semaphore,
    time::{Instant, error::Elapsed, timeout},
};

use super::{
    breaker::{Ask, Breaker},
    claims::Claims,
    entry::Entry,
    origin::Learned,
};
use crate::{
    cache::{Cache, CacheError},
    fingerprint::Fingerprint,
    observe::{self, Kept, Looked},
    record::{RecordId, StoredResponse},
    store::{CacheHealth, Judged},
};

/// How many answers may be on their way to the cache at once.
const WRITES: usize = 64;

/// How long each of them may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long somebody who asks how the cache is waits for it.
const CHECK_TIMEOUT: Duration = Duration::from_millis(300);

/// Stores' clocks may tell whole milliseconds only. And clocks run apart, but not by a thousandth.
const CLOCK_TICK: Duration = Duration::from_millis(1);

/// A cache, and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Tier {
    cache: Arc<dyn Cache>,
    pub(super) timeout: Duration,
    pub(super) max_age: Duration,
    breaker: Arc<Breaker>,
    writes: Arc<Semaphore>,
    pub(super) claims: Arc<Claims>,
    pub(super) origin: Arc<Learned>,
}

/// A completed record, as the durable store has it.
pub(super) struct Completed<'a> {
    pub(super) id: &'a RecordId,
    pub(super) fingerprint: Fingerprint,
    pub(super) response: &'a StoredResponse,
    /// When the store was asked.
    pub(super) asked_at: Instant,
    /// The record's age then, about.
    pub(super) age: Duration,
    /// The record lives for so long after it was asked, at least.
    pub(super) lives: Duration,
}

impl Tier {
    pub(super) fn new(cache: Arc<dyn Cache>) -> Self {
        Self {
            cache,
            timeout: Duration::from_millis(50),
            max_age: Duration::from_mins(5),
            breaker: Arc::default(),
            writes: Arc::new(Semaphore::new(WRITES)),
            claims: Arc::default(),
            origin: Arc::default(),
        }
    }

    /// The verdict on a claim, if the cache has it.
    pub(super) async fn look(&self, id: &RecordId, fingerprint: &Fingerprint) -> Option<Judged> {
        let (looked, judged) = self.looked(id, fingerprint).await;
        observe::cache_read(looked);
        judged
    }

    async fn looked(&self, id: &RecordId, fingerprint: &Fingerprint) -> (Looked, Option<Judged>) {
        let Some(origin) = self.origin.known().filter(|_| self.may_ask()) else {
            return (Looked::Skipped, None);
        };
        let asked = timeout(self.timeout, self.cache.get(id.digest())).await;
        let found = match asked.unwrap_or_else(|elapsed| Err(timed_out(elapsed))) {
            Ok(found) => found,
            Err(error) => {
                self.breaker.failed(&*error);
                return (Looked::Failed, None);
            }
        };
        self.breaker.answered();
        match found.map(|it| Entry::judged(&it, origin, id, fingerprint)).transpose() {
            Ok(Some(judged)) => (Looked::Hit, Some(judged)),
            Ok(None) => (Looked::Miss, None),
            Err(unusable) => {
                let (operation, error) = (id.operation(), &unusable as &dyn Error);
                tracing::warn!(operation, error, "a cached value cannot be used");
                (Looked::Miss, None)
            }
        }
    }

    /// Has a completed record kept, for less time than it lives. Waits for nothing.
    pub(super) fn keep(&self, completed: &Completed<'_>) {
        let Some(origin) = self.origin.known() else { return };
        let Completed { id, fingerprint, response, asked_at, age, lives } = *completed;
        let life = lives.saturating_sub(lives / 1000 + CLOCK_TICK).min(self.max_age);
        let until = asked_at + life;
        if until <= Instant::now() {
            return;
        }
        let entry = Entry {
            fingerprint,
            age_at_end: age + life,
            left_at_end: lives.saturating_sub(life),
            response: response.clone(),
        };
        self.put(*id.digest(), entry.encode(origin, id), until);
    }

    fn put(&self, key: [u8; 32], value: Bytes, until: Instant) {
        if !self.may_ask() {
            return observe::cache_write(Kept::Skipped);
        }
        let Ok(permit) = Arc::clone(&self.writes).try_acquire_owned() else {
            return observe::cache_write(Kept::Skipped);
        };
        let cache = Arc::clone(&self.cache);
        let mut writing = Box::pin(async move {
            let _permit = permit;
            let written = timeout(WRITE_TIMEOUT, cache.put(&key, value, until)).await;
            match written.unwrap_or_else(|elapsed| Err(timed_out(elapsed))) {
                Ok(()) => observe::cache_write(Kept::Done),
                Err(error) => {
                    tracing::debug!(error = &*error as &dyn Error, "an answer was not cached");
                    observe::cache_write(Kept::Failed);
                }
            }
        });
        // Memory needs no second look.
        if (&mut writing).now_or_never().is_none() {
            tokio::spawn(writing);
        }
    }

    /// How the cache is. Whoever asks finds out that it works again.
    pub(super) async fn health(&self) -> CacheHealth {
        self.check(CHECK_TIMEOUT).await
    }

    fn may_ask(&self) -> bool {
        match self.breaker.ask() {
            Ask::Yes => true,
            Ask::No => false,
            Ask::Probe => {
                let tier = self.clone();
                tokio::spawn(async move { tier.check(PROBE_TIMEOUT).await });
                false
            }
        }
    }

    async fn check(&self, limit: Duration) -> CacheHealth {
        let checked = timeout(limit, self.cache.check()).await;
        match checked.unwrap_or_else(|elapsed| Err(timed_out(elapsed))) {
            Ok(()) => {
                self.breaker.works();
                CacheHealth::Up
            }
            Err(error) => {
                self.breaker.failed(&*error);
                CacheHealth::Down
            }
        }
    }
}

fn timed_out(elapsed: Elapsed) -> CacheError {
    elapsed.into()
}
