//! Opening a store on a SQLite file.

use std::time::{Duration, Instant};

use sqlx::{
    Connection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::SqliteStore;
use crate::{
    error::{SetupError, check_connections, check_timeout, is_busy},
    names::Names,
};

/// Sets what is not as usual about a [`SqliteStore`]. Made by [`SqliteStore::builder`].
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use idem_sqlx::SqliteStore;
///
/// let store = SqliteStore::builder("sqlite://shop.db".parse()?)
///     .max_readers(8)
///     .busy_timeout(Duration::from_secs(2))
///     .open()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SqliteBuilder {
    options: SqliteConnectOptions,
    table: String,
    max_readers: u32,
    busy_timeout: Duration,
}

impl SqliteBuilder {
    pub(super) fn new(options: SqliteConnectOptions) -> Self {
        Self {
            options,
            table: "idem".to_owned(),
            max_readers: 4,
            busy_timeout: Duration::from_secs(4),
        }
    }

    /// The records' table. What belongs to it is named after it: `…_fence`, `…_migrations`.
    /// Default: `idem`.
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.table = name.into();
        self
    }

    /// How many connections read. There is always exactly one that writes. Default: 4.
    pub const fn max_readers(mut self, number: u32) -> Self {
        self.max_readers = number;
        self
    }

    /// How long a statement waits for another process that writes, and how long it waits for its
    /// connection: both must be shorter than the engine's store timeout. Whole milliseconds.
    /// Default: 4 seconds.
    pub const fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// Opens the file, which is created if it is missing, and brings it into WAL mode.
    ///
    /// # Errors
    ///
    /// A [`SetupError`] if a setting makes no sense, or if the file cannot be opened, is in memory,
    /// or cannot be used in WAL mode.
    pub async fn open(self) -> Result<SqliteStore, SetupError> {
        check_timeout(self.busy_timeout)?;
        check_connections(self.max_readers)?;
        let names = Names::new(None, self.table.clone())?;
        let writer = self.writer().await?;
        let readers = self.pool(self.max_readers).connect_lazy_with(self.options().read_only(true));
        Ok(SqliteStore::new(names, writer, readers, self.busy_timeout))
    }

    /// SQLite does not wait for another writer when it brings a file into WAL mode, so we do.
    async fn writer(&self) -> Result<SqlitePool, SetupError> {
        let deadline = Instant::now() + self.busy_timeout;
        loop {
            match self.try_writer().await {
                Err(SetupError::Connect(sqlx::Error::Database(error)))
                    if is_busy(error.as_ref()) && Instant::now() < deadline =>
                {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                result => return result,
            }
        }
    }

    async fn try_writer(&self) -> Result<SqlitePool, SetupError> {
        let options = self.options().create_if_missing(true).read_only(false);
        // What came out of step with its transaction is not used again.
        let pool = self.pool(1).after_release(|connection, _| {
            Box::pin(async move {
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        });
        let pool = pool.connect_with(options).await?;
        let (file, mode): (String, String) = sqlx::query_as(
            "SELECT file, journal_mode FROM pragma_database_list, pragma_journal_mode \
             WHERE name = 'main'",
        )
        .fetch_one(&pool)
        .await?;
        if file.is_empty() || mode == "memory" {
            return Err(SetupError::InMemory);
        }
        if mode != "wal" {
            return Err(SetupError::NotWal { mode });
        }
        Ok(pool)
    }

    fn options(&self) -> SqliteConnectOptions {
        self.options
            .clone()
            .immutable(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(self.busy_timeout)
    }

    /// A connection to a file does not go stale.
    fn pool(&self, number: u32) -> SqlitePoolOptions {
        SqlitePoolOptions::new()
            .max_connections(number)
            .acquire_timeout(self.busy_timeout)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
    }
}
