//! Stores: where records live.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    announcer::Announcements,
    error::StoreError,
    fingerprint::Fingerprint,
    record::{AttemptId, Fence, Held, Owner, Record, RecordId, StoredResponse},
    transaction::{OpenTransaction, TransactionSettings},
};

/// Marks a store that has no transactions to lend to handlers.
#[derive(Clone, Copy, Debug)]
pub struct NoTransactions;

/// Where records live. Each operation is one atomic step, decided by the store's own clock.
///
/// The conformance suite in `idem-testkit` is the definition of a correct store.
///
/// Implement it with `#[async_trait]`. An operation may be dropped at any await (a timeout does
/// that); it must then either have happened or not have happened.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The database that the records are in, or [`NoTransactions`].
    type Database: 'static
    where
        Self: Sized;

    /// The longest that an operation can go on after its caller gave up, because the server ends
    /// it then; `None` when there is no such bound. The engine's timeout must be longer.
    fn server_timeout(&self) -> Option<Duration>;

    /// Decides what happens to a request: run it, replay it, refuse it.
    ///
    /// The verdict is the first of these that applies to the record:
    ///
    /// | the record | verdict |
    /// |---|---|
    /// | is absent | won |
    /// | has an unknown version | [`StoreError::UnknownVersion`] |
    /// | is in flight under this very attempt (the claim was sent again) | won; with the same fence and number and after the same, as long as the record has not expired |
    /// | has expired | won, number 1 |
    /// | has another fingerprint | mismatch |
    /// | is completed | completed |
    /// | has failed under this very attempt (the claim was sent twice, and comes late) | in flight |
    /// | has failed | won |
    /// | is held, or claimed with [`Recover::Hold`] and its lease has lapsed | held |
    /// | is in flight and its lease has lapsed | won |
    /// | is in flight | in flight |
    ///
    /// A won claim is in flight until its lease lapses. It expires after its ttl or its lease,
    /// whichever is longer, counted from now; a claim with [`Recover::Hold`] never expires.
    ///
    /// Every verdict comes with the age of the record, and that it is completed with its expiry.
    async fn claim(&self, claim: &Claim) -> Result<Judged, StoreError>;

    /// Completes a record. Accepted from the attempt that is current and in flight, also after its
    /// lease has lapsed, and again from the attempt that completed it. The record expires `ttl`
    /// from now.
    async fn complete(
        &self,
        owner: &Owner,
        response: &StoredResponse,
        ttl: Duration,
    ) -> Result<Written, StoreError>;

    /// Marks a record as failed: a retry with the same fingerprint executes. Accepted like
    /// [`complete`](Self::complete). The record expires `ttl` from now.
    async fn fail(&self, owner: &Owner, ttl: Duration) -> Result<Written, StoreError>;

    /// Marks a record's outcome as unknown. Accepted like [`complete`](Self::complete). The record
    /// never expires.
    async fn hold(&self, owner: &Owner) -> Result<Written, StoreError>;

    /// Lets the lease of an attempt in flight end `lease` from now, and the record not expire
    /// before that.
    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Written, StoreError>;

    /// Takes a claim back as if it had never been made: the record goes. Accepted from the attempt
    /// that is current and in flight.
    async fn release(&self, owner: &Owner) -> Result<Written, StoreError>;

    /// Begins a transaction for an execution, if the record lets it run. The verdict is that of
    /// [`claim`](Self::claim); a claim that is won writes nothing, and lets others see that the
    /// record is [in flight](Claimed::InFlight) for as long as the transaction is open.
    ///
    /// A store whose [`Database`](Self::Database) is not [`NoTransactions`] implements it. Handlers take
    /// what it lends as a `Tx`, which only the stores of `idem-sqlx` make: others pass theirs on.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoTransactions`] from a store that does not.
    async fn begin(&self, begin: &Begin) -> Result<Begun, StoreError> {
        let _ = begin;
        Err(StoreError::NoTransactions)
    }

    /// Begins a transaction for a request that needs no record.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    async fn begin_unguarded(
        &self,
        settings: &TransactionSettings,
    ) -> Result<Box<dyn OpenTransaction>, StoreError> {
        let _ = settings;
        Err(StoreError::NoTransactions)
    }

    /// Reads a record that has not expired.
    async fn get(&self, id: &RecordId) -> Result<Option<Record>, StoreError>;

    /// Says which of these records are not in flight: a claim's verdict, with the fingerprint that
    /// the record has, would be any other. A record that is absent is one of them. They come in the
    /// order that they were asked for.
    async fn not_in_flight(&self, ids: &[RecordId]) -> Result<Vec<RecordId>, StoreError>;

    /// What this store hears from now on about executions that have ended, in this process and in all
    /// others, so that requests which wait need not wait for the next
    /// [`not_in_flight`](Self::not_in_flight). `None` from a store that hears nothing.
    ///
    /// It costs no promise when an announcement is lost, or comes twice. A store announces an ending
    /// ([`complete`](Self::complete), [`fail`](Self::fail), [`hold`](Self::hold),
    /// [`release`](Self::release), [`resolve`](Self::resolve), and the end of a transaction) once others
    /// can see it, and lets no operation wait for that. An [`Announcer`](crate::Announcer) hands
    /// announcements to all who ask.
    fn announcements(&self) -> Option<Announcements> {
        None
    }

    /// Deletes up to `limit` expired records and says how many. Safe from several servers at once. A
    /// store whose database deletes them by itself finds none.
    async fn sweep(&self, limit: u32) -> Result<u64, StoreError>;

    /// Reads up to `limit` records for which a claim's verdict would be held, by ascending fence,
    /// so the oldest claim first. `after` is the last fence of the page before. Records of an
    /// unknown version are left out.
    async fn held(&self, after: Option<Fence>, limit: u32) -> Result<Vec<Held>, StoreError>;

    /// Says whether the store works. The default reads a record that nobody has.
    ///
    /// # Errors
    ///
    /// Why it does not.
    async fn health(&self) -> Result<Health, StoreError> {
        let of_nobody = RecordId::from_stored([0; 32], String::new(), String::new(), String::new());
        self.get(&of_nobody).await.map(|_| Health::default())
    }

    /// Ends a held record. `owner` is the attempt that was cut off, as [`held`](Self::held) listed
    /// it. Accepted while the record is held under that attempt, and again from the same
    /// resolution.
    ///
    /// The record then belongs to [`Resolution::attempt_after`], so that an owner which was only
    /// late can no longer write it. Fence and number stay. The record expires the resolution's ttl
    /// from now.
    async fn resolve(&self, owner: &Owner, resolution: &Resolution) -> Result<Written, StoreError>;
}

/// A store whose type was chosen at run time.
#[async_trait]
impl Store for Arc<dyn Store> {
    type Database = NoTransactions;

    fn server_timeout(&self) -> Option<Duration> {
        (**self).server_timeout()
    }

    async fn claim(&self, claim: &Claim) -> Result<Judged, StoreError> {
        (**self).claim(claim).await
    }

    async fn complete(
        &self,
        owner: &Owner,
        response: &StoredResponse,
        ttl: Duration,
    ) -> Result<Written, StoreError> {
        (**self).complete(owner, response, ttl).await
    }

    async fn fail(&self, owner: &Owner, ttl: Duration) -> Result<Written, StoreError> {
        (**self).fail(owner, ttl).await
    }

    async fn hold(&self, owner: &Owner) -> Result<Written, StoreError> {
        (**self).hold(owner).await
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Written, StoreError> {
        (**self).renew(owner, lease).await
    }

    async fn release(&self, owner: &Owner) -> Result<Written, StoreError> {
        (**self).release(owner).await
    }

    async fn begin(&self, begin: &Begin) -> Result<Begun, StoreError> {
        (**self).begin(begin).await
    }

    async fn begin_unguarded(
        &self,
        settings: &TransactionSettings,
    ) -> Result<Box<dyn OpenTransaction>, StoreError> {
        (**self).begin_unguarded(settings).await
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        (**self).get(id).await
    }

    async fn not_in_flight(&self, ids: &[RecordId]) -> Result<Vec<RecordId>, StoreError> {
        (**self).not_in_flight(ids).await
    }

    fn announcements(&self) -> Option<Announcements> {
        (**self).announcements()
    }

    async fn sweep(&self, limit: u32) -> Result<u64, StoreError> {
        (**self).sweep(limit).await
    }

    async fn held(&self, after: Option<Fence>, limit: u32) -> Result<Vec<Held>, StoreError> {
        (**self).held(after, limit).await
    }

    async fn health(&self) -> Result<Health, StoreError> {
        (**self).health().await
    }

    async fn resolve(&self, owner: &Owner, resolution: &Resolution) -> Result<Written, StoreError> {
        (**self).resolve(owner, resolution).await
    }
}

/// What a store that works says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The cache in front of it.
    pub cache: CacheHealth,
}

/// How the cache in front of a store is. It changes speed only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheHealth {
    /// There is none.
    #[default]
    None,
    /// It works.
    Up,
    /// It does not: everything is read from the store.
    Down,
}

/// What a request asks of a store.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The record and the attempt that wants it.
    pub owner: Owner,
    /// What the request asks for.
    pub fingerprint: Fingerprint,
    /// What a lapsed lease means.
    pub recover: Recover,
    /// How long the claim holds without renewal.
    pub lease: Duration,
    /// How long the claim stays visible if nobody ends it.
    pub ttl: Duration,
}

/// What happens to an execution that was cut off: its process died, or it panicked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recover {
    /// A retry executes again.
    #[default]
    Retry,
    /// The outcome is unknown: nobody executes again without a decision.
    Hold,
}

/// A store's verdict on a claim, and what it was made on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The verdict.
    pub claimed: Claimed,
    /// How long ago the record came to be, by the store's clock: it grows over retries and
    /// takeovers, and starts anew when the record has expired or was deleted. `None` when there is
    /// no record to be seen, because it is in flight in a transaction.
    pub age: Option<Duration>,
    /// In how long the record expires, by the store's clock and never more than that, if the verdict
    /// is that it is [completed](Claimed::Completed) and the record expires at all.
    pub expires_in: Option<Duration>,
}

impl Judged {
    /// A verdict on a record of that age, without an expiry.
    pub const fn new(claimed: Claimed, age: Option<Duration>) -> Self {
        Self { claimed, age, expires_in: None }
    }
}

/// A store's verdict on a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The request runs.
    Won {
        /// Grows with each claim.
        fence: Fence,
        /// Executions so far, this one included.
        number: u32,
        /// What came before.
        after: After,
    },
    /// Done before: replay this.
    Completed(StoredResponse),
    /// The key was used for another request.
    Mismatch,
    /// Running elsewhere.
    InFlight,
    /// The outcome is unknown.
    Held,
}

/// What an execution follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing: the record was absent, or had expired.
    Nothing,
    /// An attempt that failed.
    Failure,
    /// An attempt that was cut off: its lease had lapsed.
    Lapse,
}

/// What an execution asks of a store that is to begin its transaction.
#[derive(Clone, Debug)]
pub struct Begin {
    /// The record and the attempt that wants it.
    pub owner: Owner,
    /// What the request asks for.
    pub fingerprint: Fingerprint,
    /// How the transaction behaves.
    pub settings: TransactionSettings,
}

/// A store's verdict on the beginning of an execution in a transaction.
#[derive(Debug)]
pub enum Begun {
    /// The request runs, in this transaction.
    Won {
        /// Grows from commit to commit.
        fence: Fence,
        /// Executions so far that left a trace, and this one.
        number: u32,
        /// What came before.
        after: After,
        /// As in [`Judged::age`]; zero when there is no record yet.
        age: Duration,
        /// The transaction.
        transaction: Box<dyn OpenTransaction>,
    },
    /// Any verdict but that it is won; no transaction is open.
    Refused(Judged),
}

/// What became of a held record, in the store's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It was done, and this is the answer that retries get.
    Completed {
        /// The answer.
        response: StoredResponse,
        /// How long it is replayed.
        ttl: Duration,
    },
    /// It was not done: a retry executes.
    Failed {
        /// How long the failed attempt is remembered.
        ttl: Duration,
    },
}

impl Resolution {
    /// The attempt that a record belongs to once it was resolved this way, from the one that was
    /// cut off. The same for the same kind of resolution with the same answer, and for no other.
    pub fn attempt_after(&self, cut_off: AttemptId) -> AttemptId {
        let mut digest = Sha256::new();
        digest.update(cut_off.as_uuid());
        match self {
            Self::Completed { response, .. } => {
                let lines = response.header_lines();
                digest.update(b"completed");
                digest.update(response.status.as_u16().to_be_bytes());
                digest.update((lines.len() as u64).to_be_bytes());
                digest.update(lines);
                digest.update([u8::from(response.body.is_some())]);
                digest.update(response.body.as_deref().unwrap_or_default());
            }
            Self::Failed { .. } => digest.update(b"failed"),
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.finalize()[..16]);
        AttemptId::from_uuid(Uuid::new_v8(bytes))
    }
}

/// Whether a store accepted the write of an owner.
#[must_use = "a stale owner must not go on as if it had written"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is written.
    Accepted,
    /// The attempt is no longer current; nothing was written.
    Stale,
}

impl Written {
    /// From whether a statement hit its row.
    pub const fn from_hit(hit: bool) -> Self {
        if hit { Self::Accepted } else { Self::Stale }
    }
}
