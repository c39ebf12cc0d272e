//! Fast replays in front of a durable truth.

mod breaker;
mod claims;
mod entry;
mod origin;
mod tier;
mod transaction;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::join;
use tokio::time::Instant;

use self::{
    claims::Won,
    tier::{Completed, Tier},
    transaction::Keeping,
};
use crate::{
    announcer::Announcements,
    cache::Cache,
    endpoint::LONGEST,
    error::StoreError,
    fingerprint::Fingerprint,
    record::{Fence, Held, Owner, Record, RecordId, StoredResponse},
    store::{
        Begin, Begun, CacheHealth, Claim, Claimed, Health, Judged, Resolution, Store, Written,
    },
    transaction::{OpenTransaction, TransactionSettings},
};

/// A store of which completed records are also read from a [`Cache`], so that a replay does not ask it.
///
/// The durable store decides every claim: who runs, who waits, who is refused. A completed record does
/// not change for as long as it lives, so a copy of it says the same, and no claim of it needs the
/// store. Everything else does. So a cache that is dead, slow, frozen, cold or flushed costs speed, and
/// never an outcome.
///
/// - **A copy never outlives its record.** Its life is counted from before the store was asked, by as
///   much as the record was to live then, less a thousandth and a millisecond. What comes to the cache
///   too late is not kept.
/// - **A copy is of one record of one store**: the fingerprint is compared on each replay as the store
///   does, the handler's extractors have run before, and a value that is damaged, of another version or
///   of somebody else is not used. To tell stores from each other, there is one more record in each,
///   with the operation `idem.tiered`.
/// - **A cache is asked for [50 milliseconds](Self::timeout)**, and after three failures in a row not at
///   all, until a probe, a second later, finds that it works again. Answers are put into it after their
///   requests have theirs, at most 64 at once. When the process ends, those that are on their way are
///   lost: their next replay comes from the store.
/// - **Who deletes or changes a completed record** with SQL sees it replayed for up to
///   [5 minutes](Self::max_age) more, by all who have a copy. Nothing else changes one.
///
/// Handlers that take a `Tx` keep their transactions: its [`Database`](Store::Database) is that of the
/// durable store. A `Tiered` is a durable store for another one, too: memory in front of Redis in front
/// of Postgres.
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use idem_core::{Idem, MemoryCache, MemoryStore, Tiered};
///
/// let durable = MemoryStore::new(); // in production, one that is
/// let store = Tiered::new(MemoryCache::new(64 * 1024 * 1024), durable);
/// let idem = Idem::builder(store).build().unwrap();
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Tiered<S> {
    durable: S,
    tier: Tier,
}

impl<S: Store> Tiered<S> {
    /// A durable store with a cache in front of it.
    pub fn new(cache: impl Cache, durable: S) -> Self {
        Self { durable, tier: Tier::new(Arc::new(cache)) }
    }

    /// How long a request waits for the cache before it asks the durable store; at least a millisecond.
    /// The engine's store timeout has to allow for both. Default: 50 milliseconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.tier.timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// How long a copy is used at most, however long its record lives: so long a record that was deleted
    /// behind Idem's back may still be replayed. At most 100 years. Default: 5 minutes.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.tier.max_age = max_age.min(LONGEST);
        self
    }

    /// The durable store.
    pub const fn durable(&self) -> &S {
        &self.durable
    }

    /// The verdict on a claim, if the cache has it.
    async fn cached(&self, id: &RecordId, fingerprint: &Fingerprint) -> Option<Judged> {
        self.tier.origin.learn_from(&self.durable).await;
        self.tier.look(id, fingerprint).await
    }

    /// Keeps what the durable store has replayed, because this process or the cache did not know it.
    fn fill(&self, id: &RecordId, fingerprint: Fingerprint, asked_at: Instant, judged: &Judged) {
        let Judged { claimed: Claimed::Completed(response), age, expires_in: Some(lives) } = judged
        else {
            return;
        };
        let (age, lives) = (age.unwrap_or_default(), *lives);
        self.tier.keep(&Completed { id, fingerprint, response, asked_at, age, lives });
    }
}

#[async_trait]
impl<S: Store> Store for Tiered<S> {
    type Database = S::Database;

    fn server_timeout(&self) -> Option<Duration> {
        self.durable.server_timeout()
    }

    async fn claim(&self, claim: &Claim) -> Result<Judged, StoreError> {
        let Claim { owner: Owner { id, attempt }, fingerprint, .. } = claim;
        if let Some(judged) = self.cached(id, fingerprint).await {
            return Ok(judged);
        }
        let asked_at = Instant::now();
        let judged = self.durable.claim(claim).await?;
        if let Claimed::Won { .. } = judged.claimed {
            let won = Won::now(*fingerprint, judged.age.unwrap_or_default());
            self.tier.claims.remember(*attempt, won);
        }
        self.fill(id, *fingerprint, asked_at, &judged);
        Ok(judged)
    }

    async fn complete(
        &self,
        owner: &Owner,
        response: &StoredResponse,
        ttl: Duration,
    ) -> Result<Written, StoreError> {
        let won = self.tier.claims.take(owner.attempt);
        let asked_at = Instant::now();
        let written = self.durable.complete(owner, response, ttl).await?;
        if let (Written::Accepted, Some(won)) = (written, won) {
            let (id, fingerprint, age) = (&owner.id, won.fingerprint, won.age_at(asked_at));
            self.tier.keep(&Completed { id, fingerprint, response, asked_at, age, lives: ttl });
        }
        Ok(written)
    }

    async fn fail(&self, owner: &Owner, ttl: Duration) -> Result<Written, StoreError> {
        self.tier.claims.take(owner.attempt);
        self.durable.fail(owner, ttl).await
    }

    async fn hold(&self, owner: &Owner) -> Result<Written, StoreError> {
        self.tier.claims.take(owner.attempt);
        self.durable.hold(owner).await
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Written, StoreError> {
        self.durable.renew(owner, lease).await
    }

    async fn release(&self, owner: &Owner) -> Result<Written, StoreError> {
        self.tier.claims.take(owner.attempt);
        self.durable.release(owner).await
    }

    async fn begin(&self, begin: &Begin) -> Result<Begun, StoreError> {
        let Begin { owner: Owner { id, .. }, fingerprint, .. } = begin;
        if let Some(judged) = self.cached(id, fingerprint).await {
            return Ok(Begun::Refused(judged));
        }
        let asked_at = Instant::now();
        match self.durable.begin(begin).await? {
            Begun::Won { fence, number, after, age, transaction } => {
                let won = Won::now(*fingerprint, age);
                let (tier, id) = (self.tier.clone(), id.clone());
                let transaction = Box::new(Keeping { transaction, tier, id, won });
                Ok(Begun::Won { fence, number, after, age, transaction })
            }
            Begun::Refused(judged) => {
                self.fill(id, *fingerprint, asked_at, &judged);
                Ok(Begun::Refused(judged))
            }
        }
    }

    async fn begin_unguarded(
        &self,
        settings: &TransactionSettings,
    ) -> Result<Box<dyn OpenTransaction>, StoreError> {
        self.durable.begin_unguarded(settings).await
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.durable.get(id).await
    }

    async fn not_in_flight(&self, ids: &[RecordId]) -> Result<Vec<RecordId>, StoreError> {
        self.durable.not_in_flight(ids).await
    }

    fn announcements(&self) -> Option<Announcements> {
        self.durable.announcements()
    }

    async fn sweep(&self, limit: u32) -> Result<u64, StoreError> {
        self.durable.sweep(limit).await
    }

    async fn held(&self, after: Option<Fence>, limit: u32) -> Result<Vec<Held>, StoreError> {
        self.durable.held(after, limit).await
    }

    /// Says whether the durable store works, and tells how the cache is.
    async fn health(&self) -> Result<Health, StoreError> {
        let (durable, cache) = join(self.durable.health(), self.tier.health()).await;
        let mut health = durable?;
        if health.cache != CacheHealth::Down {
            health.cache = cache;
        }
        Ok(health)
    }

    async fn resolve(&self, owner: &Owner, resolution: &Resolution) -> Result<Written, StoreError> {
        self.durable.resolve(owner, resolution).await
    }
}
