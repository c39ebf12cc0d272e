//! One of the stores fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use idem_core::{
    Announced, Announcements, Announcer, Claim, Claimed, Fence, Held, Judged, MemoryStore,
    Migrating, NoTransactions, Owner, Record, RecordId, Recover, Resolution, Store, StoreError,
    StoredResponse, Written,
};
use idem_testkit::async_trait;

use tokio::time::timeout;

use crate::support::{TTL, claim, complete, completed, id, response, retried, won};

/// A store in memory that cannot be reached now and then, and that announces.
#[derive(Clone, Debug)]
struct Remote {
    store: MemoryStore,
    /// How often it still answers.
    answers: Arc<AtomicU32>,
    announcer: Announcer,
}

impl Remote {
    fn new() -> Self {
        let answers = Arc::new(AtomicU32::new(u32::MAX));
        Self { store: MemoryStore::new(), answers, announcer: Announcer::new() }
    }

    /// Answers so often and is down then.
    fn answer(&self, times: u32) {
        self.answers.store(times, Ordering::Relaxed);
    }

    fn reached(&self) -> Result<&MemoryStore, StoreError> {
        let take = |left: u32| left.checked_sub(1);
        match self.answers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(&self.store),
            Err(_) => Err(StoreError::unreachable("it is down")),
        }
    }
}

#[async_trait]
impl Store for Remote {
    type Database = NoTransactions;

    fn server_timeout(&self) -> Option<Duration> {
        self.store.server_timeout()
    }

    async fn claim(&self, claim: &Claim) -> Result<Judged, StoreError> {
        self.reached()?.claim(claim).await
    }

    async fn complete(
        &self,
        owner: &Owner,
        response: &StoredResponse,
        ttl: Duration,
    ) -> Result<Written, StoreError> {
        let written = self.reached()?.complete(owner, response, ttl).await?;
        self.announcer.announce(Announced::Ended(*owner.id.digest()));
        Ok(written)
    }

    async fn fail(&self, owner: &Owner, ttl: Duration) -> Result<Written, StoreError> {
        self.reached()?.fail(owner, ttl).await
    }

    async fn hold(&self, owner: &Owner) -> Result<Written, StoreError> {
        self.reached()?.hold(owner).await
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Written, StoreError> {
        self.reached()?.renew(owner, lease).await
    }

    async fn release(&self, owner: &Owner) -> Result<Written, StoreError> {
        self.reached()?.release(owner).await
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.reached()?.get(id).await
    }

    async fn not_in_flight(&self, ids: &[RecordId]) -> Result<Vec<RecordId>, StoreError> {
        self.reached()?.not_in_flight(ids).await
    }

    fn announcements(&self) -> Option<Announcements> {
        Some(self.announcer.announcements())
    }

    async fn sweep(&self, limit: u32) -> Result<u64, StoreError> {
        self.reached()?.sweep(limit).await
    }

    async fn held(&self, after: Option<Fence>, limit: u32) -> Result<Vec<Held>, StoreError> {
        self.reached()?.held(after, limit).await
    }

    async fn resolve(&self, owner: &Owner, resolution: &Resolution) -> Result<Written, StoreError> {
        self.reached()?.resolve(owner, resolution).await
    }
}

#[tokio::test]
async fn while_one_of_the_stores_is_down_nothing_is_claimed_and_nothing_left_behind() {
    let (old, new) = (Remote::new(), Remote::new());
    let both = Migrating::new(old.clone(), new.clone());
    for (down, up) in [(&old, &new), (&new, &old)] {
        down.answer(0);
        for recover in [Recover::Retry, Recover::Hold] {
            let error = both.claim(&claim("k", recover)).await.unwrap_err();
            assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
            assert_eq!(up.get(&id("k")).await.unwrap(), None, "{recover:?}");
        }
        assert!(both.health().await.is_err());
        down.answer(u32::MAX);
        both.health().await.unwrap();
    }
}

/// Whoever claimed must take it back, although the error alone would say that nothing happened.
#[tokio::test]
async fn a_claim_that_could_not_be_taken_back_may_have_happened() {
    let (old, new) = (Remote::new(), Remote::new());
    let both = Migrating::new(old.clone(), new.clone());
    let first = claim("k", Recover::Hold);
    old.answer(1);
    new.answer(0);
    let error = both.claim(&first).await.unwrap_err();
    assert!(error.may_have_happened(), "{error:?}");
    old.answer(u32::MAX);
    new.answer(u32::MAX);
    assert!(old.get(&id("k")).await.unwrap().is_some());
    assert_eq!(both.release(&first.owner).await.unwrap(), Written::Accepted);
    won(&both, &claim("k", Recover::Hold)).await;
}

#[tokio::test]
async fn an_ending_that_reached_only_one_store_is_written_again() {
    for (old_answers, new_answers) in [(0, u32::MAX), (u32::MAX, 0)] {
        let (old, new) = (Remote::new(), Remote::new());
        let both = Migrating::new(old.clone(), new.clone());
        let first = claim("k", Recover::Retry);
        won(&both, &first).await;
        old.answer(old_answers);
        new.answer(new_answers);
        assert!(both.complete(&first.owner, &response("done"), TTL).await.is_err());
        old.answer(u32::MAX);
        new.answer(u32::MAX);
        assert_eq!(retried(&both, "k").await, Claimed::InFlight);
        assert_eq!(complete(&both, &first.owner, "done").await, Written::Accepted);
        for store in [&old, &new] {
            assert_eq!(retried(store, "k").await, completed("done"));
        }
    }
}

/// A claim that reached only one of them is taken back from that one while the other one is down.
#[tokio::test]
async fn a_release_reaches_the_store_that_is_up() {
    for old_is_down in [true, false] {
        let (old, new) = (Remote::new(), Remote::new());
        let both = Migrating::new(old.clone(), new.clone());
        let first = claim("k", Recover::Retry);
        won(&both, &first).await;
        let (down, up) = if old_is_down { (&old, &new) } else { (&new, &old) };
        down.answer(0);
        assert!(both.release(&first.owner).await.is_err());
        assert_eq!(up.get(&id("k")).await.unwrap(), None);
    }
}

#[tokio::test]
async fn the_announcements_of_both_stores_are_heard() {
    let stores = [Remote::new(), Remote::new(), Remote::new()];
    let [one, two, three] = stores.clone();
    let all = Migrating::new(Migrating::new(one, two), three);
    let mut announcements = all.announcements().unwrap();
    for (i, store) in stores.iter().enumerate() {
        let claim = claim(&format!("{i}"), Recover::Retry);
        won(store, &claim).await;
        assert_eq!(complete(store, &claim.owner, "done").await, Written::Accepted);
        let heard = timeout(Duration::from_mins(1), announcements.next()).await.unwrap();
        assert_eq!(heard, Announced::Ended(*claim.owner.id.digest()));
    }
    let silent = Migrating::new(MemoryStore::new(), MemoryStore::new());
    assert!(silent.announcements().is_none());
}
