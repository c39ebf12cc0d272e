//! Connections that the store shares with nobody.

use std::time::Duration;

use idem_core::StoreError;
use sqlx::{
    FromRow, PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions, PgRow},
};

use crate::{error::store_error, sql::Query};

/// A pool that only ever runs single statements, each a transaction of its own.
#[derive(Clone)]
pub(super) struct Connections(PgPool);

impl Connections {
    /// Connects when the first statement comes.
    pub(super) fn new(options: PgConnectOptions, number: u32, timeout: Duration) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(number)
            .acquire_timeout(timeout)
            .test_before_acquire(false);
        Self(pool.connect_lazy_with(options))
    }

    /// Runs a statement and fetches all its rows. When the connection turns out to be broken, or to
    /// only read, the statement is sent again on another one, because it may be an old connection to a
    /// server that was restarted or replaced since: so the statement must be one that may run twice.
    pub(super) async fn fetch<'q, T>(
        &self,
        query: impl Fn() -> Query<'q, Postgres, T>,
    ) -> Result<Vec<T>, StoreError>
    where
        T: Send + Unpin + for<'r> FromRow<'r, PgRow>,
    {
        let mut others = self.0.options().get_max_connections();
        let mut sent = false;
        loop {
            let error = match self.0.acquire().await {
                Ok(connection) => {
                    sent = true;
                    match run(connection, query()).await {
                        Ok(rows) => return Ok(rows),
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            if others > 0 && (is_broken(&error) || is_read_only(&error)) {
                tracing::debug!(%error, "a connection is of no use; trying another one");
                others -= 1;
            } else if sent {
                return Err(store_error(error));
            } else {
                return Err(StoreError::unreachable(error));
            }
        }
    }

    /// Runs a statement on the first connection that comes.
    pub(super) async fn fetch_once<T>(
        &self,
        query: Query<'_, Postgres, T>,
    ) -> Result<Vec<T>, sqlx::Error>
    where
        T: Send + Unpin + for<'r> FromRow<'r, PgRow>,
    {
        run(self.0.acquire().await?, query).await
    }
}

async fn run<T>(
    connection: PoolConnection<Postgres>,
    query: Query<'_, Postgres, T>,
) -> Result<Vec<T>, sqlx::Error>
where
    T: Send + Unpin + for<'r> FromRow<'r, PgRow>,
{
    let mut lent = Lent(Some(connection));
    let rows = query.fetch_all(lent.connection()).await?;
    lent.give_back();
    Ok(rows)
}

/// A connection that goes back to its pool only by [`give_back`](Self::give_back). Otherwise its
/// statement was cut off, and nobody knows what is still to come on it.
struct Lent(Option<PoolConnection<Postgres>>);

impl Lent {
    fn connection(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("only `give_back` takes it")
    }

    fn give_back(mut self) {
        self.0.take();
    }
}

impl Drop for Lent {
    /// Not `close_on_drop`: that sends what is still buffered, which may be the whole statement.
    fn drop(&mut self) {
        drop(self.0.take().map(PoolConnection::detach));
    }
}

/// Whether the connection failed and not the statement. Codes: class 08, connection exception, 57P01
/// to 57P05, the server's reasons to end a session, and 25P03, that its transaction idled for too long.
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
pub(super) fn is_broken(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|it| it.starts_with("08") || it.starts_with("57P0") || it == "25P03"),
        _ => false,
    }
}

/// Whether the connection only reads, as one to a standby, or to the server that wrote before a
/// failover.
pub(super) fn is_read_only(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some("25006"))
}
