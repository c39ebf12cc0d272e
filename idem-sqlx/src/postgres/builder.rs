//! Building a store on Postgres.

use std::{fmt, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{PostgresStore, layout::Layout};
use crate::{
    error::{SetupError, check_connections, check_timeout},
    names::Names,
};

/// Sets what is not as usual about a [`PostgresStore`]. Made by [`PostgresStore::builder`] or
/// [`PostgresStore::beside`].
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use idem_sqlx::PostgresStore;
///
/// let store = PostgresStore::builder("postgres://localhost/shop".parse()?)
///     .schema("internal")
///     .max_connections(20)
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct PostgresBuilder {
    pub(super) options: PgConnectOptions,
    table: String,
    schema: Option<String>,
    pub(super) max_connections: u32,
    pub(super) statement_timeout: Duration,
    max_transactions: u32,
    pub(super) listens: bool,
    pub(super) layout: Layout,
    /// The application's pool, if handlers' transactions are to be begun on it.
    pool: Option<PgPool>,
}

impl PostgresBuilder {
    pub(super) fn new(options: PgConnectOptions, pool: Option<PgPool>) -> Self {
        Self {
            options,
            pool,
            max_transactions: 10,
            listens: false,
            layout: Layout::Plain,
            table: "idem".to_owned(),
            schema: None,
            max_connections: 10,
            statement_timeout: Duration::from_secs(4),
        }
    }

    /// The records' table. What belongs to it is named after it: `…_fence`, `…_migrations`.
    /// Default: `idem`.
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.table = name.into();
        self
    }

    /// The schema of the tables. Default: whatever the server's `search_path` says.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = Some(name.into());
        self
    }

    /// How many connections claims and their endings may use. There is one more for renewals alone,
    /// so that they never wait behind claims. Default: 10.
    pub const fn max_connections(mut self, number: u32) -> Self {
        self.max_connections = number;
        self
    }

    /// How many handlers that take a `Tx` may run at once: each has a connection of a pool of its
    /// own until its transaction ends. A store [`beside`](PostgresStore::beside) an application's
    /// pool takes that pool, and this setting means nothing. Default: 10.
    pub const fn max_transactions(mut self, number: u32) -> Self {
        self.max_transactions = number;
        self
    }

    /// Has processes tell each other what has ended, by `NOTIFY`: duplicates that wait
    /// (`on_conflict = "wait"`) for an execution in another process get its answer at once, and not
    /// when they ask for it the next time. It takes one more connection, and does not replace the
    /// polling: a notification that is lost, or a server that is reached through a pooler which hands
    /// out a connection for each transaction, costs time and nothing else.
    ///
    /// A transaction that notifies holds a lock of the whole server while it commits. So no request
    /// notifies, and no transaction of a handler does: what has ended is collected, and told by a
    /// statement of its own afterwards, for all endings together, up to a hundred times in a second.
    ///
    /// Each process of a service that is to tell or to hear must be set so. Who may connect to the
    /// database can listen, too; what is told is a digest of the record's id. Default: they do not.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = idem_testkit::PostgresServer::shared().fresh_database();
    /// use std::time::Duration;
    ///
    /// use idem_core::Idem;
    /// use idem_sqlx::PostgresStore;
    ///
    /// let store = PostgresStore::builder(url.parse()?).listen().connect().await?;
    /// store.migrate().await?;
    /// // What is told is not asked for, so that asking may be rare.
    /// let idem = Idem::builder(store).poll_interval(Duration::from_secs(1)).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub const fn listen(mut self) -> Self {
        self.listens = true;
        self
    }

    /// Has [`migrate`](PostgresStore::migrate) make a table of 16 partitions, by the hash of the
    /// records' ids. Each statement about one record goes to one of them. Vacuums go on beside each
    /// other, and each of their indexes is a sixteenth: worth it from some tens of millions of records,
    /// below that it only costs. The number is fixed, because a sweep looks into all of them.
    ///
    /// Records that are already in a plain table are moved by [`partition`](PostgresStore::partition).
    /// Default: one table.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = idem_testkit::PostgresServer::shared().fresh_database();
    /// use idem_sqlx::PostgresStore;
    ///
    /// let store = PostgresStore::builder(url.parse()?).partitioned().connect().await?;
    /// store.migrate().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub const fn partitioned(mut self) -> Self {
        self.layout = Layout::Partitioned;
        self
    }

    /// When the server ends a statement of ours, and how long a statement waits for a connection:
    /// both must be shorter than the engine's store timeout. Whole milliseconds. Default: 4 seconds.
    pub const fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// Connects, and makes sure that the server ends our statements in time.
    ///
    /// # Errors
    ///
    /// A [`SetupError`] if a setting makes no sense, or if the server cannot be reached within the
    /// statement timeout, or did not take our settings over.
    pub async fn connect(self) -> Result<PostgresStore, SetupError> {
        check_timeout(self.statement_timeout)?;
        check_connections(self.max_connections)?;
        let names = Names::new(self.schema.clone(), self.table.clone())?;
        check_connections(self.max_transactions)?;
        PostgresStore::open(&self, names).await
    }

    /// Without a statement timeout: what handlers do is theirs.
    pub(super) fn transactions(&self) -> PgPool {
        self.pool.clone().unwrap_or_else(|| {
            PgPoolOptions::new()
                .max_connections(self.max_transactions)
                .acquire_timeout(self.statement_timeout)
                .test_before_acquire(false)
                .connect_lazy_with(self.options.clone())
        })
    }

    /// What each connection starts with. The isolation level is fixed because the statements count
    /// on seeing what others committed while they waited for a row, whatever the server's default.
    pub(super) fn startup_options(&self) -> PgConnectOptions {
        self.options.clone().options([
            ("statement_timeout", self.statement_timeout.as_millis().to_string().as_str()),
            ("default_transaction_isolation", "read committed"),
        ])
    }
}

impl fmt::Debug for PostgresBuilder {
    /// Without the connection options: their own output shows the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBuilder")
            .field("table", &self.table)
            .field("schema", &self.schema)
            .field("max_connections", &self.max_connections)
            .field("max_transactions", &self.max_transactions)
            .field("listens", &self.listens)
            .field("layout", &self.layout)
            .field("statement_timeout", &self.statement_timeout)
            .finish_non_exhaustive()
    }
}
