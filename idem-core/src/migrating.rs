//! Moving from one store to another one while processes run.

mod claims;
mod endings;
mod listing;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    announcer::Announcements,
    error::StoreError,
    record::{Fence, Held, Owner, Record, RecordId, State, StoredResponse},
    store::{CacheHealth, Claim, Health, Judged, NoTransactions, Resolution, Store, Written},
};

/// Two stores as one, for the time in which a service moves from the old one to the new one without
/// a stop.
///
/// Each record is claimed in the old store first and then in the new one, and a request runs only if
/// both claims are won. What it ended with is written to the new store first and then to the old one.
/// So processes that use both stores agree with those that still use the old one alone, and with
/// those that already use the new one alone. **The latter two never agree with each other**; so a
/// service moves in three steps, each a rolling deployment of its own:
///
/// 1. From the old store to `Migrating`, process by process.
/// 2. It waits: until every record that a process wrote to the old store alone has expired, which is
///    the longest `ttl` or `failed_ttl` after the last of those processes has ended. Held records
///    never expire: all that [`held`](Store::held) of the *old* store lists and that of the new one
///    does not must have been decided. Then the fences of the new store are raised above those of the
///    old one, see below.
/// 3. From `Migrating` to the new store, process by process.
///
/// Until step 3 begins, the way back is to roll out the old store again.
///
/// Both stores must be reachable: while one of them is not, claims are refused. A replay costs what
/// it costs in the old store; an execution costs what it costs in both.
///
/// # What is promised
///
/// What the stores promise, in each step: one execution at a time, the same answer to each retry
/// within the ttl, nothing executed without a decision under `recover = "hold"`. A process that
/// dies between the two stores leaves a claim that lapses, or an answer that was recorded in the new
/// store only; whoever claims next finds it there, records it in the old one, too, and replays it.
/// As nobody was told that answer yet, a process that uses the old store alone may execute again
/// once the lease has lapsed, which is what a crash means in that mode; under `recover = "hold"` it
/// finds a held record.
///
/// *Not promised:* the stores' clocks differ, and so a record expires in one of them before the
/// other. For as long as the difference, in the last moment of its ttl, one process may replay what
/// another one executes anew. [`number`](crate::Attempt::number) begins at 1 where a store does not
/// know earlier executions.
///
/// # Fences
///
/// An execution gets the greater one of the two fences that were drawn for it. That grows from
/// execution to execution as long as the new store's fences are below those of the old one while
/// processes use the old store alone, as those of a new table are; and above them once processes use
/// the new store alone. So raise them in step 2, above the greatest fence of the old one: on Postgres
/// by `setval('idem_fence', …)`. On Redis fences are times: to there, an execution by a process that
/// uses the old store alone can have a lower fence than the one before it.
///
/// # No transactions
///
/// A handler that takes a `Tx` does not compile with this store: its record commits with its writes,
/// in one database, and a claim in a second one cannot. Such records move within their database, in
/// one SQL transaction.
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use idem_core::{Idem, MemoryStore, Migrating};
///
/// let (old, new) = (MemoryStore::new(), MemoryStore::new());
/// let idem = Idem::builder(Migrating::new(old, new)).build().unwrap();
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Migrating {
    old: Arc<dyn Store>,
    new: Arc<dyn Store>,
}

impl Migrating {
    /// A store over both of these.
    pub fn new(old: impl Store, new: impl Store) -> Self {
        Self { old: Arc::new(old), new: Arc::new(new) }
    }
}

#[async_trait]
impl Store for Migrating {
    type Database = NoTransactions;

    fn server_timeout(&self) -> Option<Duration> {
        self.old.server_timeout().zip(self.new.server_timeout()).map(|(old, new)| old.max(new))
    }

    async fn claim(&self, claim: &Claim) -> Result<Judged, StoreError> {
        self.claim_both(claim).await
    }

    async fn complete(
        &self,
        owner: &Owner,
        response: &StoredResponse,
        ttl: Duration,
    ) -> Result<Written, StoreError> {
        self.complete_both(owner, response, ttl).await
    }

    async fn fail(&self, owner: &Owner, ttl: Duration) -> Result<Written, StoreError> {
        match self.new.fail(owner, ttl).await? {
            Written::Accepted => self.old.fail(owner, ttl).await,
            Written::Stale => Ok(Written::Stale),
        }
    }

    async fn hold(&self, owner: &Owner) -> Result<Written, StoreError> {
        match self.new.hold(owner).await? {
            Written::Accepted => self.old.hold(owner).await,
            Written::Stale => Ok(Written::Stale),
        }
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Written, StoreError> {
        let (old, new) = tokio::join!(self.old.renew(owner, lease), self.new.renew(owner, lease));
        let both = (old?, new?) == (Written::Accepted, Written::Accepted);
        Ok(Written::from_hit(both))
    }

    async fn release(&self, owner: &Owner) -> Result<Written, StoreError> {
        // Both, whatever becomes of the other: a claim may have reached only one of them.
        let (old, new) = tokio::join!(self.old.release(owner), self.new.release(owner));
        let either = [old?, new?].contains(&Written::Accepted);
        Ok(Written::from_hit(either))
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let (old, new) = tokio::try_join!(self.old.get(id), self.new.get(id))?;
        Ok(match (old, new) {
            (Some(mut old), Some(new)) if old.attempt == new.attempt => {
                old.fence = old.fence.max(new.fence);
                old.number = old.number.max(new.number);
                Some(old)
            }
            (Some(Record { state: State::Failed, .. }), Some(new)) => Some(new),
            (old, new) => old.or(new),
        })
    }

    async fn not_in_flight(&self, ids: &[RecordId]) -> Result<Vec<RecordId>, StoreError> {
        let mut ended = Vec::new();
        let not_in_old = self.old.not_in_flight(ids).await?;
        let mut not_in_new = self.new.not_in_flight(&not_in_old).await?.into_iter().peekable();
        for id in not_in_old {
            // Both come in the order that they were asked for.
            let is_free = not_in_new.next_if_eq(&id).is_some();
            if is_free || self.old_decides(&id).await? {
                ended.push(id);
            }
        }
        Ok(ended)
    }

    fn announcements(&self) -> Option<Announcements> {
        match (self.old.announcements(), self.new.announcements()) {
            (Some(old), Some(new)) => Some(old.and(new)),
            (old, new) => old.or(new),
        }
    }

    async fn sweep(&self, limit: u32) -> Result<u64, StoreError> {
        // A record that is in both counts once. The new store catches up where only it is swept.
        const BATCHES: u32 = 10;
        let swept = self.old.sweep(limit).await?;
        for _ in 0..BATCHES {
            if self.new.sweep(limit).await? < u64::from(limit) || swept == u64::from(limit) {
                break;
            }
        }
        Ok(swept)
    }

    async fn held(&self, after: Option<Fence>, limit: u32) -> Result<Vec<Held>, StoreError> {
        self.held_in_either(after, limit).await
    }

    async fn health(&self) -> Result<Health, StoreError> {
        let (old, new) = tokio::try_join!(self.old.health(), self.new.health())?;
        let mut health = old;
        health.cache = match (old.cache, new.cache) {
            (CacheHealth::Down, _) | (_, CacheHealth::Down) => CacheHealth::Down,
            (CacheHealth::Up, _) | (_, CacheHealth::Up) => CacheHealth::Up,
            _ => CacheHealth::None,
        };
        Ok(health)
    }

    async fn resolve(&self, owner: &Owner, resolution: &Resolution) -> Result<Written, StoreError> {
        self.resolve_in_both(owner, resolution).await
    }
}

impl Migrating {
    /// Whether a claim gets its verdict from a record that has ended in the old store.
    async fn old_decides(&self, id: &RecordId) -> Result<bool, StoreError> {
        let record = self.old.get(id).await?;
        Ok(record.is_some_and(|it| matches!(it.state, State::Completed | State::Held)))
    }
}
