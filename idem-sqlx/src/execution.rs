//! Executions in a transaction, as far as databases agree: begun → lent → ended.

use std::{any::Any, fmt, future::Future, sync::Arc};

use async_trait::async_trait;
use idem_core::{Begin, Begun, Claimed, Ended, Judged, OpenTransaction, Recorded, StoreError};
use sqlx::{Database, Transaction};
#[cfg(any(feature = "postgres", feature = "mysql"))]
use sqlx::{Pool, pool::PoolConnection};
use tracing::Instrument;

#[cfg(any(feature = "postgres", feature = "mysql"))]
use crate::{connections::Server, error::SetupError};
use crate::{
    error::store_error,
    row::{ClaimRow, judged},
    sql::{Answer, Pending},
    tx::{Home, Owned},
};

/// How one database ends the transaction of an execution.
#[async_trait]
pub(crate) trait Close<DB: Database>: fmt::Debug + Send + Sync + 'static {
    /// Whether there is a record to write.
    fn has_record(&self) -> bool;

    /// Writes the record if there is an answer, and commits.
    async fn commit(
        &self,
        transaction: Transaction<'static, DB>,
        answer: Option<Answer>,
    ) -> Result<Ended, StoreError>;

    /// Rolls back, and says whether that was still possible.
    async fn roll_back(&self, transaction: Transaction<'static, DB>) -> sqlx::Result<Ended>;

    /// Writes the record of an answer in a transaction of its own; says whether the record is this
    /// one.
    async fn record(&self, answer: &Answer) -> Result<bool, StoreError>;
}

/// A transaction that was begun for one execution.
pub(crate) struct Open<DB: Database, C> {
    home: Arc<Home<DB>>,
    close: Arc<C>,
}

impl<DB: Database, C: Close<DB>> Open<DB, C> {
    pub(crate) fn new(transaction: impl Into<Owned<DB>>, close: C) -> Self {
        Self { home: Home::of(transaction.into()), close: Arc::new(close) }
    }
}

#[async_trait]
impl<DB: Database, C: Close<DB>> OpenTransaction for Open<DB, C> {
    fn lend(&mut self) -> Box<dyn Any + Send> {
        self.home.lend()
    }

    async fn commit(self: Box<Self>, record: Option<Recorded<'_>>) -> Result<Ended, StoreError> {
        let transaction = match self.home.close() {
            Ok(transaction) => transaction,
            Err(escaped) => return Ok(escaped),
        };
        let answer = record.map(Answer::from);
        undroppable(async move { self.close.commit(transaction, answer).await }).await
    }

    async fn reject(self: Box<Self>, record: Recorded<'_>) -> Result<Ended, StoreError> {
        let (answer, close) = (Answer::from(record), Arc::clone(&self.close));
        match self.roll_back().await {
            // A connection that failed leaves nothing behind that could still be committed.
            Ok(Ended::Done) | Err(_) if close.has_record() => {}
            ended => return ended,
        }
        Ok(if close.record(&answer).await? { Ended::Done } else { Ended::Superseded })
    }

    async fn roll_back(self: Box<Self>) -> Result<Ended, StoreError> {
        let transaction = match self.home.close() {
            Ok(transaction) => transaction,
            Err(escaped) => return Ok(escaped),
        };
        let rolled_back = async move { self.close.roll_back(transaction).await };
        undroppable(rolled_back).await.map_err(store_error)
    }
}

impl<DB: Database, C: fmt::Debug> fmt::Debug for Open<DB, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Open").field(&self.close).finish()
    }
}

/// What the row of [`Dialect::decide`](crate::dialect::Dialect::decide) says about an execution, whose
/// transaction is open if it may run.
pub(crate) fn decided<DB: Database, C: Close<DB>>(
    begin: &Begin,
    row: ClaimRow,
    transaction: Option<impl Into<Owned<DB>>>,
    close: impl FnOnce(Pending) -> C,
) -> Result<Begun, StoreError> {
    let (drawn, executions) = (row.2, row.3);
    match (judged(row)?, transaction) {
        (
            Some(Judged { claimed: Claimed::Won { fence, number, after }, age, .. }),
            Some(transaction),
        ) => {
            let Begin { owner, fingerprint, .. } = begin.clone();
            let pending = Pending { owner, fingerprint, fence: drawn, number: executions };
            let transaction = Box::new(Open::new(transaction, close(pending)));
            let age = age.unwrap_or_default();
            Ok(Begun::Won { fence, number, after, age, transaction })
        }
        (Some(refused), _) => Ok(Begun::Refused(refused)),
        (None, _) => Err(StoreError::Damaged("a verdict that does not decide")),
    }
}

/// Waits for a connection, which may be given up, and then begins on it, which may not. A connection
/// that turns out to be broken, or to only read, may be one to a server that was restarted or replaced
/// since.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) async fn on_working_connection<DB, T, Fut>(
    pool: &Pool<DB>,
    begin: impl Fn(PoolConnection<DB>) -> Fut,
) -> Result<T, StoreError>
where
    DB: Server,
    T: Send + 'static,
    Fut: Future<Output = sqlx::Result<T>> + Send + 'static,
{
    let mut others = pool.options().get_max_connections();
    let mut is_suspect = false;
    loop {
        let connection = pool.acquire().await.map_err(StoreError::unreachable)?;
        let running = async {
            let connection =
                if is_suspect { undroppable(writing(connection)).await? } else { Some(connection) };
            match connection {
                Some(connection) => undroppable(begin(connection)).await.map(Some),
                None => Ok(None),
            }
        };
        match running.await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) if others > 0 => {}
            Ok(None) => return Err(StoreError::unreachable(SetupError::ReadOnly)),
            Err(error) if others > 0 && DB::is_read_only(&error) => is_suspect = true,
            Err(error) if others > 0 && DB::is_broken(&error) => {}
            Err(error) => return Err(store_error(error)),
        }
        others -= 1;
    }
}

/// The connection, unless it only reads: its pool would lend it again, and so it is closed.
#[cfg(any(feature = "postgres", feature = "mysql"))]
async fn writing<DB: Server>(
    mut connection: PoolConnection<DB>,
) -> sqlx::Result<Option<PoolConnection<DB>>> {
    if !DB::only_reads(&mut connection).await? {
        return Ok(Some(connection));
    }
    connection.close().await?;
    Ok(None)
}

/// Runs to the end even if the caller is dropped: a statement that begins or ends a transaction
/// must not be cut off (<https://github.com/launchbadge/sqlx/issues/4385>).
pub(crate) async fn undroppable<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> T {
    match tokio::spawn(task.in_current_span()).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and so are we.
            Err(_) => std::future::pending().await,
        },
    }
}
