//! Connections to a server that a store shares with nobody.

use std::{fmt, future::Future, time::Duration};

use idem_core::StoreError;
use sqlx::{FromRow, Pool, pool::PoolConnection, pool::PoolOptions};
use tokio::time::{Instant, sleep};

use crate::{
    error::store_error,
    row::Hit,
    statement::{Binds, Query},
};

/// A database that is reached over a network.
pub(crate) trait Server: Binds {
    /// Whether the connection failed and not the statement.
    fn is_broken(error: &sqlx::Error) -> bool;

    /// Whether a statement that was to write failed because the server, or the session, only reads: as
    /// one that wrote before a failover.
    fn is_read_only(error: &sqlx::Error) -> bool;

    /// Whether the server, or the session, only reads.
    fn only_reads(
        connection: &mut Self::Connection,
    ) -> impl Future<Output = sqlx::Result<bool>> + Send;

    /// Whether the connection is in order although a statement failed.
    fn is_in_order_after(error: &sqlx::Error) -> bool;

    /// Whether the statement met another one, did nothing, and may be sent again.
    fn may_be_repeated(error: &sqlx::Error) -> bool;

    /// Runs a statement and fetches all its rows.
    fn fetch<T>(
        connection: &mut Self::Connection,
        query: Query<'_, Self, T>,
    ) -> impl Future<Output = sqlx::Result<Vec<T>>> + Send
    where
        T: Send + Unpin + for<'r> FromRow<'r, Self::Row>;

    /// Runs a statement that writes, and says which rows it hit.
    fn write(
        connection: &mut Self::Connection,
        query: Query<'_, Self, Hit>,
    ) -> impl Future<Output = sqlx::Result<Vec<Hit>>> + Send;
}

/// A pool that only ever runs single statements, each a transaction of its own.
pub(crate) struct Connections<DB: Server> {
    pool: Pool<DB>,
    timeout: Duration,
}

/// Why a statement failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: sqlx::Error,
    /// Whether anything was sent at all.
    sent: bool,
}

impl From<Failure> for StoreError {
    fn from(Failure { error, sent }: Failure) -> Self {
        if sent { store_error(error) } else { Self::unreachable(error) }
    }
}

impl<DB: Server> Connections<DB> {
    /// Connects when the first statement comes. Each statement takes no longer than the timeout.
    pub(crate) fn new(
        pool: PoolOptions<DB>,
        options: <DB::Connection as sqlx::Connection>::Options,
        number: u32,
        timeout: Duration,
    ) -> Self {
        let pool = pool.max_connections(number).acquire_timeout(timeout).test_before_acquire(false);
        Self { pool: pool.connect_lazy_with(options), timeout }
    }

    /// Runs a statement and fetches all its rows. When the connection turns out to be broken, or to
    /// only read, the statement is sent again on another one, because it may be an old connection to a
    /// server that was restarted or replaced since: so the statement must be one that may run twice.
    pub(crate) async fn fetch<'q, T>(
        &self,
        query: impl Fn() -> Query<'q, DB, T>,
    ) -> Result<Vec<T>, StoreError>
    where
        T: Send + Unpin + for<'r> FromRow<'r, DB::Row>,
    {
        Ok(self.repeating(|connection| fetch(connection, query())).await?)
    }

    /// Runs a statement that writes as [`fetch`](Self::fetch) does, and says which rows it hit.
    pub(crate) async fn write<'q>(
        &self,
        query: impl Fn() -> Query<'q, DB, Hit>,
    ) -> Result<Vec<Hit>, StoreError> {
        Ok(self.try_write(query).await?)
    }

    /// The same, for those who want to know why not.
    pub(crate) async fn try_write<'q>(
        &self,
        query: impl Fn() -> Query<'q, DB, Hit>,
    ) -> Result<Vec<Hit>, Failure> {
        self.repeating(|connection| write(connection, query())).await
    }

    /// Runs a statement on the first connection that comes.
    pub(crate) async fn fetch_once<T>(&self, query: Query<'_, DB, T>) -> Result<Vec<T>, sqlx::Error>
    where
        T: Send + Unpin + for<'r> FromRow<'r, DB::Row>,
    {
        fetch(self.pool.acquire().await?, query).await
    }

    /// Sends a statement until it does not meet others, for no longer than a statement may take.
    async fn repeating<T, Fut>(&self, run: impl Fn(PoolConnection<DB>) -> Fut) -> Result<T, Failure>
    where
        Fut: Future<Output = sqlx::Result<T>>,
    {
        let deadline = Instant::now() + self.timeout;
        let mut pause = Duration::from_millis(1);
        loop {
            match self.on_working_connection(&run).await {
                Err(Failure { error, .. })
                    if DB::may_be_repeated(&error) && Instant::now() < deadline =>
                {
                    tracing::debug!(%error, "a statement met another one; sending it again");
                    sleep(pause).await;
                    pause = (2 * pause).min(Duration::from_millis(20));
                }
                result => return result,
            }
        }
    }

    /// Runs on a connection until it is one that works.
    pub(crate) async fn on_working_connection<T, Fut>(
        &self,
        run: impl Fn(PoolConnection<DB>) -> Fut,
    ) -> Result<T, Failure>
    where
        Fut: Future<Output = sqlx::Result<T>>,
    {
        let mut others = self.pool.options().get_max_connections();
        let mut sent = false;
        loop {
            let error = match self.pool.acquire().await {
                Ok(connection) => {
                    sent = true;
                    match run(connection).await {
                        Ok(done) => return Ok(done),
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            if others == 0 || !(DB::is_broken(&error) || DB::is_read_only(&error)) {
                return Err(Failure { error, sent });
            }
            tracing::debug!(%error, "a connection is of no use; trying another one");
            others -= 1;
        }
    }
}

/// Runs a statement on a connection, and fetches all its rows.
pub(crate) async fn fetch<DB, T>(
    connection: PoolConnection<DB>,
    query: Query<'_, DB, T>,
) -> sqlx::Result<Vec<T>>
where
    DB: Server,
    T: Send + Unpin + for<'r> FromRow<'r, DB::Row>,
{
    let mut lent = Lent::<DB>(Some(connection));
    let result = DB::fetch(lent.connection(), query).await;
    lent.end(result)
}

/// Runs a statement that writes on a connection, and says which rows it hit.
pub(crate) async fn write<DB: Server>(
    connection: PoolConnection<DB>,
    query: Query<'_, DB, Hit>,
) -> sqlx::Result<Vec<Hit>> {
    let mut lent = Lent::<DB>(Some(connection));
    let result = DB::write(lent.connection(), query).await;
    lent.end(result)
}

/// A connection that goes back to its pool only by [`end`](Self::end). Otherwise its statement was
/// cut off, and nobody knows what is still to come on it.
struct Lent<DB: Server>(Option<PoolConnection<DB>>);

impl<DB: Server> Lent<DB> {
    fn connection(&mut self) -> &mut DB::Connection {
        self.0.as_mut().expect("only `end` takes it")
    }

    fn end<T>(mut self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        if result.as_ref().err().is_none_or(DB::is_in_order_after) {
            self.0.take();
        }
        result
    }
}

impl<DB: Server> Drop for Lent<DB> {
    /// Not `close_on_drop`: that sends what is still buffered, which may be the whole statement.
    fn drop(&mut self) {
        drop(self.0.take().map(PoolConnection::detach));
    }
}

impl<DB: Server> Clone for Connections<DB> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), timeout: self.timeout }
    }
}

impl<DB: Server> fmt::Debug for Connections<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}
