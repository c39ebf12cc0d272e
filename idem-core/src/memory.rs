//! A store in this process's memory: for tests, and for services of one process that may forget
//! everything when it restarts.

mod row;

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use self::row::{Row, Verdict};
use crate::{
    error::StoreError,
    record::{Fence, Held, Owner, RECORD_VERSION, Record, RecordId, State, StoredResponse},
    store::{After, Claim, Claimed, Judged, NoTransactions, Recover, Resolution, Store, Written},
    sync::lock,
};

const SHARDS: usize = 16;

/// Records in memory: sharded, bounded, expiring by a monotonic clock.
///
/// When `max_records` unexpired records are there, new keys are refused ([`StoreError::Full`],
/// a 503 for the client): dropping one would break the promise made for it. When the bodies reach
/// `max_bytes`, further records are completed without their body, so that they are never executed
/// again, and their replays answer that the response was not kept.
///
/// Clones share the same records.
///
/// ```
/// use idem_core::MemoryStore;
///
/// let store = MemoryStore::new();
/// let small = MemoryStore::bounded(1_000, 1024 * 1024);
/// ```
#[derive(Clone)]
pub struct MemoryStore(Arc<Inner>);

struct Inner {
    shards: [Mutex<Shard>; SHARDS],
    max_records: usize,
    max_bytes: usize,
    records: AtomicUsize,
    bytes: AtomicUsize,
    fence: AtomicI64,
    start: Instant,
    skipped: Mutex<Duration>,
}

type Digest = [u8; 32];

/// Times are durations since the store was made.
#[derive(Default)]
struct Shard {
    rows: HashMap<Digest, Row>,
    expiry: BTreeSet<(Duration, Digest)>,
}

impl MemoryStore {
    /// A store of up to 100,000 records and 256 MiB of responses.
    pub fn new() -> Self {
        Self::bounded(100_000, 256 * 1024 * 1024)
    }

    /// A store of up to `max_records` records and `max_bytes` bytes of responses.
    pub fn bounded(max_records: usize, max_bytes: usize) -> Self {
        Self(Arc::new(Inner {
            shards: std::array::from_fn(|_| Mutex::default()),
            max_records,
            max_bytes,
            records: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            fence: AtomicI64::new(0),
            start: Instant::now(),
            skipped: Mutex::default(),
        }))
    }

    /// Lets the store's clock jump forward: for tests of what happens after a ttl or a lease.
    pub fn advance(&self, by: Duration) {
        *lock(&self.0.skipped) += by;
    }

    /// Forgets a record, as an operator's `DELETE` would. Says whether it was there.
    pub fn forget(&self, id: &RecordId) -> bool {
        self.0.remove(&mut self.0.shard(id.digest()), id.digest())
    }

    /// Pretends that another version of Idem wrote a record.
    #[doc(hidden)]
    pub fn set_version(&self, id: &RecordId, version: i16) {
        if let Some(row) = self.0.shard(id.digest()).rows.get_mut(id.digest()) {
            row.version = version;
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("records", &self.0.records.load(Ordering::Relaxed))
            .field("bytes", &self.0.bytes.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn now(&self) -> Duration {
        self.start.elapsed() + *lock(&self.skipped)
    }

    fn shard(&self, digest: &Digest) -> MutexGuard<'_, Shard> {
        lock(&self.shards[usize::from(digest[0]) % SHARDS])
    }

    fn remove(&self, shard: &mut Shard, digest: &Digest) -> bool {
        let Some(row) = shard.rows.remove(digest) else {
            return false;
        };
        if let Some(at) = row.expires_at {
            shard.expiry.remove(&(at, *digest));
        }
        self.records.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(row.response.map_or(0, |it| it.size()), Ordering::Relaxed);
        true
    }

    fn sweep_shard(&self, shard: &mut Shard, now: Duration, limit: usize) -> usize {
        let due: Vec<Digest> = shard
            .expiry
            .iter()
            .take_while(|(at, _)| *at <= now)
            .filter(|(_, digest)| shard.rows.get(digest).is_some_and(|row| row.expired(now)))
            .map(|(_, digest)| *digest)
            .take(limit)
            .collect();
        due.iter().filter(|digest| self.remove(shard, digest)).count()
    }

    fn sweep(&self, now: Duration, limit: usize) -> usize {
        let mut swept = 0;
        for shard in &self.shards {
            swept += self.sweep_shard(&mut lock(shard), now, limit - swept);
        }
        swept
    }

    fn claim(&self, claim: &Claim) -> Result<Judged, StoreError> {
        let now = self.now();
        if self.records.load(Ordering::Relaxed) >= self.max_records {
            self.sweep(now, usize::MAX);
        }
        let digest = *claim.owner.id.digest();
        let mut shard = self.shard(&digest);
        self.sweep_shard(&mut shard, now, 2);
        let (number, after, created_at) = match shard.rows.get(&digest) {
            Some(row) => match row.judge(claim, now)? {
                Verdict::Decided(claimed) => {
                    let age = Some(now.saturating_sub(row.created_at));
                    let expires_in = match claimed {
                        Claimed::Completed(_) => row.expires_at.map(|at| at.saturating_sub(now)),
                        _ => None,
                    };
                    return Ok(Judged { claimed, age, expires_in });
                }
                Verdict::Free(Some(after)) => (row.number.saturating_add(1), after, row.created_at),
                Verdict::Free(None) => (1, After::Nothing, now),
            },
            None if self.records.load(Ordering::Relaxed) >= self.max_records => {
                let limit = format!("{} records", self.max_records);
                return Err(StoreError::Full { limit });
            }
            None => (1, After::Nothing, now),
        };
        self.remove(&mut shard, &digest);
        let fence = Fence::new(self.fence.fetch_add(1, Ordering::Relaxed) + 1);
        let expires_at = match claim.recover {
            Recover::Retry => Some(now.saturating_add(claim.ttl.max(claim.lease))),
            Recover::Hold => None,
        };
        let row = Row {
            id: claim.owner.id.clone(),
            version: RECORD_VERSION,
            fingerprint: claim.fingerprint,
            state: State::InFlight,
            recover: claim.recover,
            attempt: claim.owner.attempt,
            fence,
            number,
            after,
            created_at,
            lease_until: now.saturating_add(claim.lease),
            expires_at,
            response: None,
        };
        shard.expiry.extend(expires_at.map(|at| (at, digest)));
        shard.rows.insert(digest, row);
        self.records.fetch_add(1, Ordering::Relaxed);
        let age = Some(now.saturating_sub(created_at));
        Ok(Judged::new(Claimed::Won { fence, number, after }, age))
    }

    /// Changes the row of a current owner in flight and moves its expiry along. An owner whose
    /// attempt already brought the row into the state `ended` is accepted without a change.
    fn write(
        &self,
        owner: &Owner,
        ended: Option<State>,
        change: impl FnOnce(&mut Row, Duration),
    ) -> Written {
        let now = self.now();
        let digest = *owner.id.digest();
        let mut guard = self.shard(&digest);
        let shard = &mut *guard;
        let Entry::Occupied(mut entry) = shard.rows.entry(digest) else {
            return Written::Stale;
        };
        let row = entry.get_mut();
        if row.attempt != owner.attempt || row.version != RECORD_VERSION {
            return Written::Stale;
        }
        if row.state != State::InFlight {
            return Written::from_hit(ended == Some(row.state));
        }
        if let Some(at) = row.expires_at {
            shard.expiry.remove(&(at, digest));
        }
        change(row, now);
        shard.expiry.extend(row.expires_at.map(|at| (at, digest)));
        Written::Accepted
    }

    fn held(&self, after: Option<Fence>, limit: usize) -> Vec<Held> {
        let now = self.now();
        let mut held = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let rows = shard.rows.values().filter(|row| {
                row.version == RECORD_VERSION
                    && row.state(now) == State::Held
                    && after.is_none_or(|after| row.fence > after)
            });
            held.extend(rows.map(|row| {
                let held_for = now.saturating_sub(row.lease_until);
                Held::new(row.id.clone(), row.attempt, row.fence, row.number, held_for)
            }));
        }
        held.sort_unstable_by_key(|held| held.fence);
        held.truncate(limit);
        held
    }

    /// Ends a held row. One that this very resolution ended is accepted without a change.
    fn resolve(
        &self,
        owner: &Owner,
        resolution: &Resolution,
        end: impl FnOnce(&mut Row, Duration),
    ) -> Written {
        let now = self.now();
        let digest = *owner.id.digest();
        let mut guard = self.shard(&digest);
        let shard = &mut *guard;
        let Some(row) = shard.rows.get_mut(&digest).filter(|row| row.version == RECORD_VERSION)
        else {
            return Written::Stale;
        };
        let attempt = resolution.attempt_after(owner.attempt);
        if row.attempt == attempt {
            return Written::Accepted;
        }
        if row.attempt != owner.attempt || row.state(now) != State::Held {
            return Written::Stale;
        }
        row.attempt = attempt;
        end(row, now);
        shard.expiry.extend(row.expires_at.map(|at| (at, digest)));
        Written::Accepted
    }

    /// The response as far as it fits below `max_bytes`.
    fn reserve(&self, mut response: StoredResponse) -> StoredResponse {
        let fits = |size| self.bytes.load(Ordering::Relaxed).saturating_add(size) <= self.max_bytes;
        if !fits(response.size()) {
            self.sweep(self.now(), usize::MAX);
            if !fits(response.size()) {
                tracing::warn!(
                    max_bytes = self.max_bytes,
                    "the memory store is full: a response is not kept"
                );
                response.body = None;
            }
        }
        response
    }
}

#[async_trait]
impl Store for MemoryStore {
    type Database = NoTransactions;

    fn server_timeout(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    async fn claim(&self, claim: &Claim) -> Result<Judged, StoreError> {
        self.0.claim(claim)
    }

    async fn complete(
        &self,
        owner: &Owner,
        response: &StoredResponse,
        ttl: Duration,
    ) -> Result<Written, StoreError> {
        let response = self.0.reserve(response.clone());
        Ok(self.0.write(owner, Some(State::Completed), |row, now| {
            self.0.bytes.fetch_add(response.size(), Ordering::Relaxed);
            row.state = State::Completed;
            row.response = Some(response);
            row.expires_at = Some(now.saturating_add(ttl));
        }))
    }

    async fn fail(&self, owner: &Owner, ttl: Duration) -> Result<Written, StoreError> {
        Ok(self.0.write(owner, Some(State::Failed), |row, now| {
            row.state = State::Failed;
            row.expires_at = Some(now.saturating_add(ttl));
        }))
    }

    async fn hold(&self, owner: &Owner) -> Result<Written, StoreError> {
        Ok(self.0.write(owner, Some(State::Held), |row, now| {
            row.state = State::Held;
            row.lease_until = now;
            row.expires_at = None;
        }))
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Written, StoreError> {
        Ok(self.0.write(owner, None, |row, now| {
            row.lease_until = now.saturating_add(lease);
            row.expires_at = row.expires_at.map(|at| at.max(row.lease_until));
        }))
    }

    async fn release(&self, owner: &Owner) -> Result<Written, StoreError> {
        let mut shard = self.0.shard(owner.id.digest());
        let mine = shard.rows.get(owner.id.digest()).is_some_and(|row| {
            row.version == RECORD_VERSION
                && row.attempt == owner.attempt
                && row.state == State::InFlight
        });
        Ok(Written::from_hit(mine && self.0.remove(&mut shard, owner.id.digest())))
    }

    async fn not_in_flight(&self, ids: &[RecordId]) -> Result<Vec<RecordId>, StoreError> {
        let now = self.0.now();
        let is_in_flight = |id: &&RecordId| {
            let shard = self.0.shard(id.digest());
            shard.rows.get(id.digest()).is_some_and(|row| row.in_flight(now))
        };
        Ok(ids.iter().filter(|id| !is_in_flight(id)).cloned().collect())
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let now = self.0.now();
        let shard = self.0.shard(id.digest());
        let Some(row) = shard.rows.get(id.digest()) else {
            return Ok(None);
        };
        if row.version != RECORD_VERSION {
            return Err(StoreError::UnknownVersion(row.version));
        }
        Ok((!row.expired(now)).then(|| {
            Record::new(
                row.fingerprint,
                row.state(now),
                row.attempt,
                row.fence,
                row.number,
                row.response.clone(),
            )
        }))
    }

    async fn sweep(&self, limit: u32) -> Result<u64, StoreError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(self.0.sweep(self.0.now(), limit) as u64)
    }

    async fn held(&self, after: Option<Fence>, limit: u32) -> Result<Vec<Held>, StoreError> {
        Ok(self.0.held(after, usize::try_from(limit).unwrap_or(usize::MAX)))
    }

    async fn resolve(&self, owner: &Owner, resolution: &Resolution) -> Result<Written, StoreError> {
        Ok(match resolution {
            Resolution::Completed { response, ttl } => {
                let response = self.0.reserve(response.clone());
                self.0.resolve(owner, resolution, |row, now| {
                    self.0.bytes.fetch_add(response.size(), Ordering::Relaxed);
                    row.state = State::Completed;
                    row.response = Some(response);
                    row.expires_at = Some(now.saturating_add(*ttl));
                })
            }
            Resolution::Failed { ttl } => self.0.resolve(owner, resolution, |row, now| {
                row.state = State::Failed;
                row.expires_at = Some(now.saturating_add(*ttl));
            }),
        })
    }
}
