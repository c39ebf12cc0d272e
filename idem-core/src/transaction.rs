//! Transactions that a store lends to handlers.

use std::{any::Any, error::Error, fmt, time::Duration};

use async_trait::async_trait;

use crate::{error::StoreError, record::StoredResponse};

/// How far a transaction is kept apart from others. What each level means is the database's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Each statement sees what was committed before it.
    ReadCommitted,
    /// All statements see what was committed before the first one.
    RepeatableRead,
    /// As if transactions ran one after the other.
    Serializable,
}

/// How a transaction behaves in its database. What is `None` is as the connection has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionSettings {
    /// How far it is kept apart from others.
    pub isolation: Option<Isolation>,
    /// How long a statement waits for a lock.
    pub lock_timeout: Option<Duration>,
    /// How long a statement may take.
    pub statement_timeout: Option<Duration>,
    /// How long the transaction may be open without a statement, before the database ends it: so
    /// long a worker that was cut off from its database can hold locks.
    pub idle_timeout: Duration,
}

/// The record of an execution that its transaction is to commit.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// The answer.
    pub response: &'a StoredResponse,
    /// How long it is replayed.
    pub ttl: Duration,
}

/// A transaction that a store has begun for one execution.
///
/// Dropping it rolls it back. Its methods may be dropped at any await: what they began is then
/// either done or not done.
#[async_trait]
pub trait OpenTransaction: fmt::Debug + Send {
    /// Lends the transaction to the handler, as the type that handlers of this database take. It
    /// comes back when that value is dropped.
    fn lend(&mut self) -> Box<dyn Any + Send>;

    /// Writes the record, if there is one, and commits it together with what the handler wrote.
    ///
    /// # Errors
    ///
    /// When nothing was committed because the database failed.
    async fn commit(self: Box<Self>, record: Option<Recorded<'_>>) -> Result<Ended, StoreError>;

    /// Rolls back what the handler wrote, then records the answer on its own, unless another
    /// execution has recorded one: the first commit wins.
    ///
    /// # Errors
    ///
    /// When the record could not be written; it may have been.
    async fn reject(self: Box<Self>, record: Recorded<'_>) -> Result<Ended, StoreError>;

    /// Rolls back what the handler wrote.
    ///
    /// # Errors
    ///
    /// When the database failed, which rolls it back too.
    async fn roll_back(self: Box<Self>) -> Result<Ended, StoreError>;
}

/// How a transaction ended.
#[derive(Debug)]
pub enum Ended {
    /// As it was asked to.
    Done,
    /// Rolled back: another execution of this record was first.
    Superseded,
    /// Rolled back: it met another transaction, and one of the two had to go.
    Conflict,
    /// Rolled back, or about to be: the handler let it outlive itself.
    Escaped,
    /// Not committed by us: the handler ended it itself.
    EndedByHandler,
    /// Rolled back: a statement of the handler had failed, or the database refused to commit.
    Refused(Box<dyn Error + Send + Sync>),
    /// Whether it was committed could not be found out yet.
    Unknown,
}
