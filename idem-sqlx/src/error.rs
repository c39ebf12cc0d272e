//! What goes wrong while a store is set up, and how errors of the driver reach the engine.

use std::time::Duration;

use idem_core::StoreError;
use sqlx::error::DatabaseError;

/// Why a store could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The name of a table or a schema is not plain.
    #[error(
        "{name:?} cannot name a table or a schema here; take up to 48 ASCII letters, digits and \
         underscores, and no digit at the beginning"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A timeout of less than a millisecond, or more than a day.
    #[error("a timeout of {0:?} cannot be set; take one between a millisecond and a day")]
    Timeout(Duration),
    /// A pool without connections.
    #[error("a pool needs at least one connection")]
    NoConnections,
    /// The database cannot be reached or opened.
    #[error("the database cannot be opened")]
    Connect(#[source] sqlx::Error),
    /// The server did not take the settings that a connection starts with.
    #[error(
        "the server did not take over `statement_timeout`; connect to it directly, not through a \
         pooler that drops startup options"
    )]
    StartupOptions,
    /// The server, or the session on it, only reads.
    #[error(
        "the server only reads: it is a replica, or it is set so (`default_transaction_read_only`, on \
         MariaDB `read_only`); connect to the server that writes"
    )]
    ReadOnly,
    /// The server speaks the protocol, and is not MariaDB.
    #[error(
        "the server is not MariaDB but {version}; the store needs MariaDB 10.6 or later, because MySQL \
         has neither `INSERT … RETURNING` nor sequences"
    )]
    NotMariaDb {
        /// What it says it is.
        version: String,
    },
    /// An old MariaDB.
    #[error("the server is {version}; the store needs MariaDB 10.6 or later")]
    TooOld {
        /// What it says it is.
        version: String,
    },
    /// The server writes statements into its binary log, and not what they did.
    #[error(
        "the server's `binlog_format` is STATEMENT, which cannot repeat what the store does; set it to \
         MIXED, the default, or to ROW"
    )]
    StatementReplication,
    /// The server takes only small statements.
    #[error(
        "the server's `max_allowed_packet` is {bytes} bytes, so that most answers could not be kept; \
         set it to {least} or more (its default is 16 MiB)"
    )]
    SmallPackets {
        /// The largest packet that it takes.
        bytes: u64,
        /// What the store needs.
        least: u64,
    },
    /// The connection options name no database.
    #[error("no database is named; add it to the url: mysql://<host>/<database>")]
    NoDatabase,
    /// The sessions are not as the store set them up.
    #[error(
        "the server did not take over `max_statement_time`; connect to it directly, not through a proxy \
         that hands out a connection for each statement"
    )]
    SessionSettings,
    /// No schema of the search path exists.
    #[error("the `search_path` names no schema that exists; choose one with `schema`")]
    NoSchema,
    /// The database lives in memory only.
    #[error(
        "an in-memory SQLite database cannot hold idempotency records: its connections do not see \
         the same data; open a file, or use `MemoryStore`"
    )]
    InMemory,
    /// The database file is not in WAL mode, and could not be brought into it.
    #[error(
        "the database file is in journal mode {mode:?} and cannot be used in WAL mode; put it on a \
         local file system"
    )]
    NotWal {
        /// Its journal mode.
        mode: String,
    },
    /// The records' table is partitioned, and the store is not set so.
    #[error("the records' table is partitioned; set the store to `partitioned`, too")]
    IsPartitioned,
    /// The records' table has records and is not partitioned, and the store is set so.
    #[error(
        "the records' table has records and is not partitioned; move them into partitions with \
         `partition`, or do not set the store to `partitioned`"
    )]
    NotPartitioned,
    /// The tables cannot be made.
    #[error("the tables cannot be migrated")]
    Migrate(#[source] sqlx::migrate::MigrateError),
}

impl From<sqlx::Error> for SetupError {
    fn from(error: sqlx::Error) -> Self {
        Self::Connect(error)
    }
}

/// Why a database refused to write or to commit, without what it said: that may quote what a client
/// sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the database refused with code {code}{}", of(constraint.as_deref()))]
    Database { code: String, constraint: Option<String> },
    #[error("the driver refused")]
    Driver,
}

fn of(constraint: Option<&str>) -> String {
    constraint.map(|it| format!(", because of the constraint {it:?}")).unwrap_or_default()
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => Self::Database {
                code: code_of(error.as_ref()),
                constraint: error.constraint().map(str::to_owned),
            },
            _ => Self::Driver,
        }
    }
}

/// What tells errors of a database apart.
fn code_of(error: &dyn DatabaseError) -> String {
    #[cfg(feature = "mysql")]
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return error.number().to_string();
    }
    error.code().unwrap_or_default().into_owned()
}

pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::ColumnDecode { .. } => {
            tracing::error!(%error, "a stored record cannot be read");
            StoreError::Damaged("a column holds a value that nobody wrote")
        }
        error => StoreError::unavailable(error),
    }
}

pub(crate) fn check_timeout(timeout: Duration) -> Result<(), SetupError> {
    let range = Duration::from_millis(1)..=Duration::from_hours(24);
    if range.contains(&timeout) { Ok(()) } else { Err(SetupError::Timeout(timeout)) }
}

pub(crate) fn check_connections(number: u32) -> Result<(), SetupError> {
    if number == 0 { Err(SetupError::NoConnections) } else { Ok(()) }
}

/// Whether the database says that two transactions met and one had to go.
pub(crate) fn is_conflict_of_database(error: &dyn DatabaseError) -> bool {
    #[cfg(feature = "sqlite")]
    if error.as_error().is::<sqlx::sqlite::SqliteError>() {
        return is_busy(error);
    }
    #[cfg(feature = "mysql")]
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return crate::mysql::is_conflict(error.number());
    }
    matches!(error.code().as_deref(), Some("40001" | "40P01"))
}

/// `SQLITE_BUSY` and `SQLITE_LOCKED`, whose extended codes have them in their lowest byte.
#[cfg(feature = "sqlite")]
pub(crate) fn is_busy(error: &dyn DatabaseError) -> bool {
    let code = error.code().and_then(|it| it.parse::<u32>().ok());
    code.is_some_and(|it| matches!(it & 0xff, 5 | 6))
}
