//! Records in a file, by the embedded database `redb`: for services of one process.

mod row;
mod table;

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use idem_core::{
    AttemptId, Claim, Fence, Fingerprint, Held, Judged, NoTransactions, Owner, Record, RecordId,
    Resolution, State, Store, StoreError, StoredResponse, Written, async_trait,
};
use redb::{Database, ReadableDatabase, ReadableTable};
use uuid::Uuid;

use crate::{
    row::{Row, Stage, Time, Verdict, after, between},
    table::{ANSWERS, Digest, RECORDS, Tables, UNDECIDED, answer, bytes_of, failed, row},
};

/// Records in a file. Clones share it; no other process can open it meanwhile.
#[derive(Clone)]
pub struct RedbStore {
    database: Arc<Database>,
    /// By how many milliseconds the clock was moved, in tests.
    moved: Arc<AtomicU64>,
}

impl RedbStore {
    /// Opens a file, or makes it. Reads and writes block for moments.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or another process has it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, redb::Error> {
        let database = Database::create(path)?;
        let transaction = database.begin_write()?;
        Tables::open(&transaction, 0)?;
        transaction.commit()?;
        Ok(Self { database: Arc::new(database), moved: Arc::default() })
    }

    fn now(&self) -> Time {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        after(0, now).saturating_add(self.moved.load(Ordering::Relaxed))
    }

    /// Runs where it may block, and to its end, even if nobody waits for it any more: that is what
    /// makes each operation atomic for a caller that drops it.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        let worked = tokio::task::spawn_blocking(move || work(&store)).await;
        worked.map_err(StoreError::unavailable)?
    }

    /// One write transaction. It is on the disk when this returns.
    async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.blocking(|store| {
            let transaction = store.database.begin_write().map_err(failed)?;
            // The time is read when nobody else writes, or a lease could begin before it was granted.
            let mut tables = Tables::open(&transaction, store.now()).map_err(failed)?;
            let done = change(&mut tables)?;
            drop(tables);
            transaction.commit().map_err(failed)?;
            Ok(done)
        })
        .await
    }

    /// Judges without writing, so that replays and refusals wait for nobody; `None` if it takes a
    /// write.
    fn look(&self, claim: &Claim) -> Result<Option<Judged>, StoreError> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let records = transaction.open_table(RECORDS).map_err(failed)?;
        let digest = claim.owner.id.digest();
        let Some(row) = row(&records, digest)? else { return Ok(None) };
        let now = self.now();
        Ok(match row.judge(claim, now) {
            Verdict::Decided(claimed) => Some(row.judged(claimed, now)),
            Verdict::Replay => {
                let answers = transaction.open_table(ANSWERS).map_err(failed)?;
                Some(row.replayed(answer(&answers, digest)?, now))
            }
            Verdict::Free(_) => None,
        })
    }

    /// Lets the clock jump forward, for tests.
    pub fn advance(&self, by: Duration) {
        self.moved.fetch_add(after(0, by), Ordering::Relaxed);
    }

    /// Forgets a record.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn forget(&self, id: &RecordId) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(move |tables| {
            let row = row(&tables.records, id.digest())?;
            row.map_or(Ok(()), |row| tables.remove(id.digest(), &row))
        })
        .await
    }

    /// Pretends that another version of Idem wrote a record, for tests.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn set_version(&self, id: &RecordId, version: i16) -> Result<(), StoreError> {
        let digest = *id.digest();
        self.write(move |tables| {
            let stored = tables.records.get(digest).map_err(failed)?;
            let row = stored.map(|it| it.value().1.to_vec());
            if let Some(row) = row {
                tables.records.insert(digest, (version, &row[..])).map_err(failed)?;
            }
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl Store for RedbStore {
    type Database = NoTransactions;

    fn server_timeout(&self) -> Option<Duration> {
        None
    }

    async fn claim(&self, claim: &Claim) -> Result<Judged, StoreError> {
        let asked = claim.clone();
        if let Some(judged) = self.blocking(move |store| store.look(&asked)).await? {
            return Ok(judged);
        }
        let claim = claim.clone();
        self.write(move |tables| {
            let (digest, now) = (claim.owner.id.digest(), tables.now);
            let old = row(&tables.records, digest)?;
            let before = match old.as_ref().map(|row| (row, row.judge(&claim, now))) {
                None => row::Before::Nothing,
                Some((_, Verdict::Free(before))) => before,
                Some((row, Verdict::Decided(claimed))) => return Ok(row.judged(claimed, now)),
                Some((row, Verdict::Replay)) => {
                    return Ok(row.replayed(answer(&tables.answers, digest)?, now));
                }
            };
            let fence = tables.next_fence()?;
            let row = Row::claimed(&claim, old.as_ref(), before, fence, now);
            tables.put(digest, old.as_ref(), &row, None)?;
            Ok(row.judged(row.won(), now))
        })
        .await
    }

    async fn complete(
        &self,
        owner: &Owner,
        response: &StoredResponse,
        ttl: Duration,
    ) -> Result<Written, StoreError> {
        let (owner, response) = (owner.clone(), response.clone());
        self.write(move |tables| {
            let expires_at = Some(after(tables.now, ttl));
            tables.end(&owner, Stage::Completed, Some(&response), expires_at)
        })
        .await
    }

    async fn fail(&self, owner: &Owner, ttl: Duration) -> Result<Written, StoreError> {
        let owner = owner.clone();
        self.write(move |tables| {
            let expires_at = Some(after(tables.now, ttl));
            tables.end(&owner, Stage::Failed, None, expires_at)
        })
        .await
    }

    async fn hold(&self, owner: &Owner) -> Result<Written, StoreError> {
        let owner = owner.clone();
        self.write(move |tables| tables.end(&owner, Stage::Held, None, None)).await
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Written, StoreError> {
        let owner = owner.clone();
        self.write(move |tables| {
            let Some(old) = tables.owned(&owner)?.filter(|it| it.stage == Stage::InFlight) else {
                return Ok(Written::Stale);
            };
            let lease_until = after(tables.now, lease);
            let expires_at = old.expires_at.map(|at| at.max(lease_until));
            let row = Row { lease_until, expires_at, ..old.clone() };
            tables.put(owner.id.digest(), Some(&old), &row, None)?;
            Ok(Written::Accepted)
        })
        .await
    }

    async fn release(&self, owner: &Owner) -> Result<Written, StoreError> {
        let owner = owner.clone();
        self.write(move |tables| {
            let Some(old) = tables.owned(&owner)?.filter(|it| it.stage == Stage::InFlight) else {
                return Ok(Written::Stale);
            };
            tables.remove(owner.id.digest(), &old)?;
            Ok(Written::Accepted)
        })
        .await
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let digest = *id.digest();
        self.blocking(move |store| {
            let transaction = store.database.begin_read().map_err(failed)?;
            let records = transaction.open_table(RECORDS).map_err(failed)?;
            let now = store.now();
            let Some(row) = row(&records, &digest)?.filter(|it| !it.has_expired(now)) else {
                return Ok(None);
            };
            let answers = transaction.open_table(ANSWERS).map_err(failed)?;
            let (state, response) = match row.stage {
                _ if row.is_held(now) => (State::Held, None),
                Stage::Completed => (State::Completed, Some(answer(&answers, &digest)?)),
                Stage::Failed => (State::Failed, None),
                Stage::InFlight | Stage::Held => (State::InFlight, None),
            };
            Ok(Some(Record::new(
                Fingerprint::from_bytes(row.fingerprint),
                state,
                AttemptId::from_uuid(Uuid::from_bytes(row.attempt)),
                Fence::new(row.fence),
                row.number,
                response,
            )))
        })
        .await
    }

    async fn not_in_flight(&self, ids: &[RecordId]) -> Result<Vec<RecordId>, StoreError> {
        let ids = ids.to_vec();
        self.blocking(move |store| {
            let transaction = store.database.begin_read().map_err(failed)?;
            let records = transaction.open_table(RECORDS).map_err(failed)?;
            let now = store.now();
            let mut others = Vec::new();
            for id in ids {
                let is_in_flight = match row(&records, id.digest()) {
                    Ok(row) => row.is_some_and(|it| it.is_in_flight(now) && !it.has_expired(now)),
                    // A claim says so, too, and that is not that it runs.
                    Err(StoreError::UnknownVersion(_)) => false,
                    Err(error) => return Err(error),
                };
                if !is_in_flight {
                    others.push(id);
                }
            }
            Ok(others)
        })
        .await
    }

    async fn sweep(&self, limit: u32) -> Result<u64, StoreError> {
        self.write(move |tables| {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let mut due = Vec::new();
            let expired = ..=(tables.now, Digest::from([u8::MAX; 32]));
            for entry in tables.expiry.range(expired).map_err(failed)? {
                let (_, digest) = entry.map_err(failed)?.0.value();
                match row(&tables.records, &digest) {
                    Ok(Some(row)) if due.len() < limit => due.push((digest, row)),
                    // What another version wrote is not ours to judge.
                    Ok(None) | Err(StoreError::UnknownVersion(_)) => {}
                    Ok(Some(_)) => break,
                    Err(error) => return Err(error),
                }
            }
            for (digest, row) in &due {
                tables.remove(digest, row)?;
            }
            Ok(due.len() as u64)
        })
        .await
    }

    async fn held(&self, after: Option<Fence>, limit: u32) -> Result<Vec<Held>, StoreError> {
        self.blocking(move |store| {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let transaction = store.database.begin_read().map_err(failed)?;
            let records = transaction.open_table(RECORDS).map_err(failed)?;
            let undecided = transaction.open_table(UNDECIDED).map_err(failed)?;
            let (from, now) =
                (after.map_or(i64::MIN, |it| it.get().saturating_add(1)), store.now());
            let mut held = Vec::new();
            for entry in undecided.range(from..).map_err(failed)? {
                if held.len() == limit {
                    break;
                }
                let digest = entry.map_err(failed)?.1.value();
                match row(&records, &digest) {
                    Ok(Some(row)) if row.is_held(now) => held.push(listed(digest, row, now)),
                    Ok(_) | Err(StoreError::UnknownVersion(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(held)
        })
        .await
    }

    async fn resolve(&self, owner: &Owner, resolution: &Resolution) -> Result<Written, StoreError> {
        let (owner, resolution) = (owner.clone(), resolution.clone());
        self.write(move |tables| {
            let attempt = resolution.attempt_after(owner.attempt);
            let resolved = Owner { id: owner.id.clone(), attempt };
            if tables.owned(&resolved)?.is_some() {
                return Ok(Written::Accepted);
            }
            let now = tables.now;
            let Some(old) = tables.owned(&owner)?.filter(|it| it.is_held(now)) else {
                return Ok(Written::Stale);
            };
            let (stage, response, ttl) = match &resolution {
                Resolution::Completed { response, ttl } => (Stage::Completed, Some(response), ttl),
                Resolution::Failed { ttl } => (Stage::Failed, None, ttl),
            };
            let expires_at = Some(after(now, *ttl));
            let row = Row { stage, attempt: bytes_of(attempt), expires_at, ..old.clone() };
            tables.put(owner.id.digest(), Some(&old), &row, response)?;
            Ok(Written::Accepted)
        })
        .await
    }
}

fn listed(digest: Digest, row: Row, now: Time) -> Held {
    Held::new(
        RecordId::from_stored(digest, row.operation, row.scope, row.key),
        AttemptId::from_uuid(Uuid::from_bytes(row.attempt)),
        Fence::new(row.fence),
        row.number,
        between(row.lease_until, now),
    )
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").finish_non_exhaustive()
    }
}
