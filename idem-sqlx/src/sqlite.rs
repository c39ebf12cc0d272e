//! Records in a SQLite file.

mod builder;
mod transaction;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use idem_core::{
    Begin, Begun, Claim, Fence, Held, Judged, OpenTransaction, Owner, RECORD_VERSION, Record,
    RecordId, Resolution, Store, StoreError, StoredResponse, TransactionSettings, Written,
};
use sqlx::{
    FromRow, SqlStr, Sqlite, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteRow},
};

pub use self::builder::SqliteBuilder;
use crate::{
    dialect::{Dialect, trusted},
    error::{SetupError, store_error},
    migrate::{File, migrator},
    names::Names,
    row::{COMPLETED, FAILED, HELD, Hit, held, judged, record, settled},
    sql::{Statements, hexadecimal, others},
    statement::{Parameters, Query, Statement, Value},
    tx::is_conflict,
};

const FILES: &[File] = &[File {
    version: 1,
    description: "records",
    sql: include_str!("../migrations/sqlite/0001_records.sql"),
}];

/// Records in a SQLite file, for a service whose processes run on one host.
///
/// One connection writes and several read: SQLite lets one connection write at a time, and lets
/// others that want to fail or sleep, while a pool of one queues them in order. So
/// **use [`writer`](Self::writer) for the application's own writes to that file**, and keep them
/// short: claims, endings and renewals wait behind a transaction that is open on it, and a lease
/// that cannot be renewed for its whole duration may be taken over by another process.
///
/// Every commit is synchronous: what was acknowledged survives a power failure. Time is the host's
/// clock.
///
/// Clones share their connections.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use idem_core::Idem;
/// use idem_sqlx::SqliteStore;
///
/// let store = SqliteStore::open("shop.db").await?;
/// store.migrate().await?;
/// let idem = Idem::builder(store).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
    look: Statement,
    win: Statement,
    sweep: SqlStr,
    decide: Statement,
    record: Statement,
    in_flight: Statement,
    statements: Arc<Statements<Sqlite>>,
    names: Names,
    busy_timeout: Duration,
}

impl SqliteStore {
    /// Opens a file, which is created if it is missing, with all settings as usual.
    ///
    /// # Errors
    ///
    /// As [`SqliteBuilder::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, SetupError> {
        Self::builder(SqliteConnectOptions::new().filename(path)).open().await
    }

    /// A store with settings of its own: `SqliteStore::builder(url.parse()?)`.
    pub fn builder(options: SqliteConnectOptions) -> SqliteBuilder {
        SqliteBuilder::new(options)
    }

    /// The one connection that writes, for the application's own short writes to the same file.
    /// Writing through other connections would contend with it for the file's lock.
    pub const fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// The connections that read, for the application's own short reads of the same file.
    pub const fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    fn new(names: Names, writer: SqlitePool, readers: SqlitePool, busy_timeout: Duration) -> Self {
        let dialect = dialect(&names);
        Self {
            writer,
            readers,
            look: dialect.statement(dialect.look()),
            // The parser needs a condition before ON CONFLICT.
            win: dialect.statement(dialect.win("true")),
            sweep: sweep(&dialect),
            decide: transaction::decide(&dialect),
            record: transaction::record(&dialect),
            in_flight: dialect.in_flight("id IN (SELECT unhex(value) FROM json_each($1))"),
            statements: Arc::new(Statements::new(&dialect)),
            names,
            busy_timeout,
        }
    }

    /// Makes the tables, or brings them up to date; several processes may do so at once. What was
    /// done is written down in a table of its own, `idem_migrations`, apart from the application's
    /// migrations.
    ///
    /// An application that runs its own migrations takes over the files in this crate's
    /// `migrations/sqlite` instead, and does not call this.
    ///
    /// # Errors
    ///
    /// [`SetupError::Connect`] or [`SetupError::Migrate`].
    pub async fn migrate(&self) -> Result<(), SetupError> {
        // Where nothing is to be done, nobody needs to wait for another process that writes.
        match self.migrate_in("BEGIN").await {
            Err(error) if is_conflict(&error) => self.migrate_in("BEGIN IMMEDIATE").await,
            result => result,
        }
    }

    /// The migrator takes no lock of its own on SQLite.
    async fn migrate_in(&self, begin: &'static str) -> Result<(), SetupError> {
        let mut transaction = self.writer.begin_with(begin).await?;
        // Not `run`: the compiler does not see that its future is `Send`
        // (https://github.com/rust-lang/rust/issues/100013).
        migrator(FILES, &self.names)
            .run_direct(None, &mut *transaction, false)
            .await
            .map_err(SetupError::Migrate)?;
        Ok(transaction.commit().await?)
    }
}

/// SQLite looks at the clock once a statement, after it has waited for the file.
const NOW: &str = "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)";

fn dialect(names: &Names) -> Dialect {
    Dialect {
        now: NOW,
        clock: NOW,
        never: "NULL",
        never_expires: "expires_at IS NULL",
        since: |time| format!("{NOW} - {time}"),
        milliseconds: str::to_owned,
        greatest: "max",
        smallint: "smallint",
        key: "key",
        hit: " RETURNING 1",
        parameters: Parameters::Numbered,
        table: names.quoted(""),
        fence: format!("(SELECT last + 1 FROM {})", names.quoted("_fence")),
    }
}

fn sweep(dialect: &Dialect) -> SqlStr {
    let Dialect { now, table, .. } = dialect;
    trusted(format!(
        "DELETE FROM {table} WHERE id IN (
            SELECT id FROM {table}
            WHERE version = {RECORD_VERSION} AND expires_at <= {now}
            ORDER BY expires_at LIMIT $1
        )
        RETURNING 1"
    ))
}

/// Runs a statement to its end: only then is it known that it was committed. A future that is
/// dropped meanwhile leaves a statement that SQLite ends by itself.
async fn fetch<T>(pool: &SqlitePool, query: Query<'_, Sqlite, T>) -> Result<Vec<T>, StoreError>
where
    T: Send + Unpin + for<'r> FromRow<'r, SqliteRow>,
{
    query.fetch_all(pool).await.map_err(store_error)
}

#[async_trait]
impl Store for SqliteStore {
    type Database = Sqlite;

    fn server_timeout(&self) -> Option<Duration> {
        Some(self.busy_timeout)
    }

    async fn claim(&self, claim: &Claim) -> Result<Judged, StoreError> {
        // Each repetition finds what was committed meanwhile, so more than two are rare.
        const TRIES: u32 = 10;
        for _ in 0..TRIES {
            let look = Statements::claim(&self.look, claim);
            if let Some(row) = fetch(&self.readers, look).await?.pop()
                && let Some(judged) = judged(row)?
            {
                return Ok(judged);
            }
            let win = Statements::claim(&self.win, claim);
            if let Some(row) = fetch(&self.writer, win).await?.pop()
                && let Some(judged) = judged(row)?
            {
                return Ok(judged);
            }
        }
        Err(StoreError::Contended(TRIES))
    }

    async fn complete(
        &self,
        owner: &Owner,
        response: &StoredResponse,
        ttl: Duration,
    ) -> Result<Written, StoreError> {
        let lines = response.header_lines();
        let write = self.statements.complete(owner, response, &lines, ttl);
        let look = self.statements.ended(owner, COMPLETED);
        settled(fetch(&self.writer, write), fetch(&self.readers, look)).await
    }

    async fn fail(&self, owner: &Owner, ttl: Duration) -> Result<Written, StoreError> {
        let write = self.statements.fail(owner, ttl);
        let look = self.statements.ended(owner, FAILED);
        settled(fetch(&self.writer, write), fetch(&self.readers, look)).await
    }

    async fn hold(&self, owner: &Owner) -> Result<Written, StoreError> {
        let write = self.statements.hold(owner);
        let look = self.statements.ended(owner, HELD);
        settled(fetch(&self.writer, write), fetch(&self.readers, look)).await
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Written, StoreError> {
        let hits = fetch(&self.writer, self.statements.renew(owner, lease)).await?;
        Ok(Written::from_hit(!hits.is_empty()))
    }

    async fn release(&self, owner: &Owner) -> Result<Written, StoreError> {
        let hits = fetch(&self.writer, self.statements.release(owner)).await?;
        Ok(Written::from_hit(!hits.is_empty()))
    }

    async fn begin(&self, begin: &Begin) -> Result<Begun, StoreError> {
        transaction::begin(self, begin).await
    }

    async fn begin_unguarded(
        &self,
        _: &TransactionSettings,
    ) -> Result<Box<dyn OpenTransaction>, StoreError> {
        transaction::begin_unguarded(self).await
    }

    async fn not_in_flight(&self, ids: &[RecordId]) -> Result<Vec<RecordId>, StoreError> {
        let asked = hexadecimal(ids);
        let query = self.in_flight.query(&[Value::Text(&asked)]);
        Ok(others(ids, &fetch(&self.readers, query).await?))
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        fetch(&self.readers, self.statements.get(id)).await?.pop().map(record).transpose()
    }

    async fn sweep(&self, limit: u32) -> Result<u64, StoreError> {
        let query = sqlx::query_as(self.sweep.clone()).bind(i64::from(limit));
        let hits: Vec<Hit> = fetch(&self.writer, query).await?;
        Ok(hits.len() as u64)
    }

    async fn held(&self, after: Option<Fence>, limit: u32) -> Result<Vec<Held>, StoreError> {
        let rows = fetch(&self.readers, self.statements.held(after, limit)).await?;
        rows.into_iter().map(held).collect()
    }

    async fn resolve(&self, owner: &Owner, resolution: &Resolution) -> Result<Written, StoreError> {
        let attempt = resolution.attempt_after(owner.attempt);
        let resolved = Owner { id: owner.id.clone(), attempt };
        match resolution {
            Resolution::Completed { response, ttl } => {
                let lines = response.header_lines();
                let write =
                    self.statements.resolve_completed(owner, &resolved, response, &lines, *ttl);
                let look = self.statements.ended(&resolved, COMPLETED);
                settled(fetch(&self.writer, write), fetch(&self.readers, look)).await
            }
            Resolution::Failed { ttl } => {
                let write = self.statements.resolve_failed(owner, &resolved, *ttl);
                let look = self.statements.ended(&resolved, FAILED);
                settled(fetch(&self.writer, write), fetch(&self.readers, look)).await
            }
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("table", &self.names.quoted(""))
            .field("busy_timeout", &self.busy_timeout)
            .finish_non_exhaustive()
    }
}
