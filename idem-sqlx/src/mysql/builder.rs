//! Building a store on MariaDB.

use std::{fmt, time::Duration};

use sqlx::{
    MySqlPool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};

use super::MySqlStore;
use crate::{
    error::{SetupError, check_connections, check_timeout},
    names::Names,
};

/// Sets what is not as usual about a [`MySqlStore`]. Made by [`MySqlStore::builder`] or
/// [`MySqlStore::beside`].
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use idem_sqlx::MySqlStore;
///
/// let store = MySqlStore::builder("mysql://localhost/shop".parse()?)
///     .table("internal_idem")
///     .max_connections(20)
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct MySqlBuilder {
    pub(super) options: MySqlConnectOptions,
    table: String,
    pub(super) max_connections: u32,
    pub(super) statement_timeout: Duration,
    max_transactions: u32,
    /// The application's pool, if handlers' transactions are to be begun on it.
    pool: Option<MySqlPool>,
}

impl MySqlBuilder {
    pub(super) fn new(options: MySqlConnectOptions, pool: Option<MySqlPool>) -> Self {
        Self {
            options,
            pool,
            max_transactions: 10,
            table: "idem".to_owned(),
            max_connections: 10,
            statement_timeout: Duration::from_secs(4),
        }
    }

    /// The records' table. What belongs to it is named after it: `…_fence`, `…_migrations`. It is in
    /// the database that the options name. Default: `idem`.
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.table = name.into();
        self
    }

    /// How many connections claims and their endings may use. There is one more for renewals alone,
    /// so that they never wait behind claims. Default: 10.
    pub const fn max_connections(mut self, number: u32) -> Self {
        self.max_connections = number;
        self
    }

    /// How many handlers that take a `Tx` may run at once: each has a connection of a pool of its
    /// own until its transaction ends. A store [`beside`](MySqlStore::beside) an application's pool
    /// takes that pool, and this setting means nothing. Default: 10.
    pub const fn max_transactions(mut self, number: u32) -> Self {
        self.max_transactions = number;
        self
    }

    /// When the server ends a statement of ours (`max_statement_time`), how long a statement waits
    /// for a connection, and how long it is sent again while others are in its way: all must be
    /// shorter than the engine's store timeout. Whole milliseconds. Default: 4 seconds.
    pub const fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// Connects, and makes sure that the server is one that the store works on.
    ///
    /// # Errors
    ///
    /// A [`SetupError`] if a setting makes no sense, if the server cannot be reached within the
    /// statement timeout, if it is not MariaDB 10.6 or later, or if it is set up so that the store
    /// cannot work.
    pub async fn connect(self) -> Result<MySqlStore, SetupError> {
        check_timeout(self.statement_timeout)?;
        check_connections(self.max_connections)?;
        check_connections(self.max_transactions)?;
        let names = Names::new(None, self.table.clone())?.in_backticks();
        MySqlStore::open(&self, names).await
    }

    /// With the application's own settings: what handlers do is theirs.
    pub(super) fn transactions(&self) -> MySqlPool {
        self.pool.clone().unwrap_or_else(|| {
            MySqlPoolOptions::new()
                .max_connections(self.max_transactions)
                .acquire_timeout(self.statement_timeout)
                .test_before_acquire(false)
                .connect_lazy_with(self.options.clone())
        })
    }
}

impl fmt::Debug for MySqlBuilder {
    /// Without the connection options: their own output shows the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlBuilder")
            .field("table", &self.table)
            .field("max_connections", &self.max_connections)
            .field("max_transactions", &self.max_transactions)
            .field("statement_timeout", &self.statement_timeout)
            .finish_non_exhaustive()
    }
}
