//! Stores: where records live.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    fingerprint::Fingerprint,
    record::{Fence, Owner, Record, RecordId, StoredResponse},
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
    /// | is in flight under this very attempt (the claim was sent again) | won; with the same fence and number, as long as the record has not expired |
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
    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError>;

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

    /// Reads a record that has not expired.
    async fn get(&self, id: &RecordId) -> Result<Option<Record>, StoreError>;

    /// Deletes up to `limit` expired records and says how many. Safe from several servers at once.
    async fn sweep(&self, limit: u32) -> Result<u64, StoreError>;
}

/// A store whose type was chosen at run time.
#[async_trait]
impl Store for Arc<dyn Store> {
    type Database = NoTransactions;

    fn server_timeout(&self) -> Option<Duration> {
        (**self).server_timeout()
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
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

    async fn get(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        (**self).get(id).await
    }

    async fn sweep(&self, limit: u32) -> Result<u64, StoreError> {
        (**self).sweep(limit).await
    }
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

/// A store's verdict on a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The request runs.
    Won {
        /// Grows with each claim.
        fence: Fence,
        /// Executions so far, this one included.
        number: u32,
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

/// Why a store could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store did not answer in time; the operation may have happened.
    #[error("the store did not answer within {0:?}")]
    Timeout(Duration),
    /// The database or the connection to it failed; the operation may have happened.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// The store could not even be asked; nothing was written.
    #[error("the store cannot be reached")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// Too many claims of one record at once; nothing was written.
    #[error("the claim was still contended after {0} tries")]
    Contended(u32),
    /// The store is at its bound and holds nothing that may be dropped; nothing was written.
    #[error("the store is full: {limit}")]
    Full {
        /// The bound that was reached.
        limit: String,
    },
    /// The record was written by another version of Idem.
    #[error(
        "the record has format version {0}, this build knows {known}; update this server, or roll \
         back the one that wrote it",
        known = crate::record::RECORD_VERSION
    )]
    UnknownVersion(i16),
    /// A stored value is not what this build wrote.
    #[error("the stored record is damaged: {0}")]
    Damaged(&'static str),
}

impl StoreError {
    /// Wraps an error of a database driver.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }

    /// Wraps an error of a database driver that came before anything was sent.
    pub fn unreachable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unreachable(source.into())
    }

    /// Whether it is the store that fails, and not what it holds or how it is used.
    pub const fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Timeout(_) | Self::Unavailable(_) | Self::Unreachable(_) | Self::Full { .. }
        )
    }

    /// Whether the operation may have happened although it failed.
    pub const fn may_have_happened(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Unavailable(_))
    }
}
