//! Records in MariaDB.

mod builder;
mod claim;
#[cfg(test)]
mod plan;
mod server;
mod setup;
mod transaction;

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use idem_core::{
    Begin, Begun, Claim, Fence, Held, Judged, OpenTransaction, Owner, RECORD_VERSION, Record,
    RecordId, Resolution, Store, StoreError, StoredResponse, TransactionSettings, Written,
};
use sha2::{Digest, Sha256};
use sqlx::{
    Connection, MySql, MySqlConnection, MySqlPool, migrate::MigrateError,
    mysql::MySqlConnectOptions,
};

pub use self::builder::MySqlBuilder;
pub(crate) use self::server::is_conflict;
use self::setup::examine;
use crate::{
    connections::Connections,
    dialect::{Dialect, trusted},
    error::SetupError,
    migrate::{File, migrator},
    names::Names,
    row::{COMPLETED, FAILED, HELD, held, record, settled},
    sql::{Statements, hexadecimal, others},
    statement::{Parameters, Statement, Value},
};

const FILES: &[File] = &[File {
    version: 1,
    description: "records",
    sql: include_str!("../migrations/mysql/0001_records.sql"),
}];

/// How many bytes of a statement are not the answer that it writes, at most.
const ENVELOPE: usize = 64 * 1024;

/// Records in MariaDB 10.6 or later.
///
/// A first request costs three statements: a look, the claim, and its ending. A replay costs one, a
/// plain read, which takes no row lock and writes nothing. Each is a transaction of its own, on
/// connections that belong to the store, so that handlers which hold all of the application's
/// connections cannot keep an execution from being renewed or recorded.
///
/// Time is the server's clock, in UTC, whatever its time zone. A server that is restarted costs no
/// request its claim, and neither do deadlocks: statements are sent again, which none of them minds.
///
/// `MySQL` is not MariaDB: it has neither `INSERT … RETURNING` nor sequences, and
/// [`connect`](MySqlBuilder::connect) refuses it.
///
/// An answer that is larger than the server's `max_allowed_packet` permits is recorded as done
/// without its body, as one over the engine's `max_response` is. The store asks for that limit when
/// it connects: restart the service after lowering it.
///
/// TLS comes from `sqlx`: enable one of its features `tls-…` in the application.
///
/// Clones share their connections.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use idem_core::Idem;
/// use idem_sqlx::MySqlStore;
///
/// let store = MySqlStore::connect("mysql://localhost/shop").await?;
/// store.migrate().await?;
/// let idem = Idem::builder(store).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MySqlStore {
    main: Connections<MySql>,
    renewals: Connections<MySql>,
    /// Where handlers' transactions are begun.
    transactions: MySqlPool,
    claims: Arc<claim::Claims>,
    executions: Arc<transaction::Executions>,
    sweep: Statement,
    in_flight: Statement,
    statements: Arc<Statements<MySql>>,
    names: Names,
    statement_timeout: Duration,
    /// The largest answer that the server takes, headers included.
    max_answer: usize,
    options: MySqlConnectOptions,
}

impl MySqlStore {
    /// Connects to the database of a URL, with all settings as usual.
    ///
    /// # Errors
    ///
    /// As [`MySqlBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, SetupError> {
        Self::builder(url.parse()?).connect().await
    }

    /// A store with settings of its own: `MySqlStore::builder(url.parse()?)`.
    pub fn builder(options: MySqlConnectOptions) -> MySqlBuilder {
        MySqlBuilder::new(options, None)
    }

    /// A store on the same server as an application's pool. The transactions of handlers that take
    /// a `Tx` are begun on that pool, so that they are what the application's own are; for all else
    /// the store has connections of its own, to which the pool's `after_connect` does nothing.
    ///
    /// ```no_run
    /// # async fn example(pool: sqlx::MySqlPool) -> Result<(), Box<dyn std::error::Error>> {
    /// let store = idem_sqlx::MySqlStore::beside(&pool).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn beside(pool: &MySqlPool) -> MySqlBuilder {
        MySqlBuilder::new(MySqlConnectOptions::clone(&pool.connect_options()), Some(pool.clone()))
    }

    /// Connects, and finds out in which database the tables are: from then on their names are
    /// qualified, because a handler may `USE` another one.
    async fn open(builder: &MySqlBuilder, names: Names) -> Result<Self, SetupError> {
        let (options, timeout) =
            (server::options(builder.options.clone()), builder.statement_timeout);
        let found = examine(&options, timeout).await?;
        let names = names.found_in(found.database);
        let connections =
            |number| Connections::new(server::pool(timeout), options.clone(), number, timeout);
        let main = connections(builder.max_connections);
        check_session(&main, timeout).await?;
        let dialect = dialect(&names);
        Ok(Self {
            main,
            renewals: connections(1),
            transactions: builder.transactions(),
            claims: Arc::new(claim::Claims::new(&dialect)),
            executions: Arc::new(transaction::Executions::new(&dialect, timeout)),
            sweep: sweep(&dialect),
            in_flight: dialect.in_flight(AMONG),
            statements: Arc::new(Statements::new(&dialect)),
            names,
            statement_timeout: timeout,
            max_answer: usize::try_from(found.max_packet).unwrap_or(usize::MAX) - ENVELOPE,
            options: builder.options.clone(),
        })
    }

    /// Makes the tables, or brings them up to date; several servers may do so at once, and one that
    /// was cut off is followed by another. What was done is written down in a table of its own,
    /// `idem_migrations`, apart from the application's migrations.
    ///
    /// An application that runs its own migrations takes over the files in this crate's
    /// `migrations/mysql` instead, and does not call this.
    ///
    /// # Errors
    ///
    /// [`SetupError::Connect`] or [`SetupError::Migrate`].
    pub async fn migrate(&self) -> Result<(), SetupError> {
        let options = server::options(self.options.clone());
        let connecting = MySqlConnection::connect_with(&options);
        let timed_out = |_| sqlx::Error::PoolTimedOut;
        let mut connection =
            tokio::time::timeout(self.statement_timeout, connecting).await.map_err(timed_out)??;
        let result = self.migrate_on(&mut connection).await;
        // The lock goes with the session.
        let _ = connection.close().await;
        result
    }

    /// The migrator's own lock is none: MariaDB knows no negative timeout.
    async fn migrate_on(&self, connection: &mut MySqlConnection) -> Result<(), SetupError> {
        const HOUR: i64 = 60 * 60;
        let name = Sha256::digest(self.names.quoted("_migrations"));
        let lock = sqlx::query_as("SELECT GET_LOCK(HEX(?), ?)").bind(&name[..16]).bind(HOUR);
        let got: (Option<i64>,) = lock.fetch_one(&mut *connection).await?;
        if got != (Some(1),) {
            return Err(SetupError::Connect(sqlx::Error::PoolTimedOut));
        }
        let names = self.names.clone().in_default_schema();
        let mut migrator = migrator(FILES, &names);
        migrator.set_locking(false);
        // Not `run`: the compiler does not see that its future is `Send`
        // (https://github.com/rust-lang/rust/issues/100013).
        let mut result = migrator.run_direct(None, connection, false).await;
        if let Err(MigrateError::Dirty(version)) = result {
            // Tables are made without transactions, and our files can be run again where one broke off.
            let forget = format!("DELETE FROM {} WHERE version = ?", names.quoted("_migrations"));
            sqlx::query(trusted(forget)).bind(version).execute(&mut *connection).await?;
            result = migrator.run_direct(None, connection, false).await;
        }
        result.map_err(SetupError::Migrate)
    }

    /// An answer as it is kept: without its body if the server would not take it.
    fn kept<'a>(&self, response: &'a StoredResponse) -> Cow<'a, StoredResponse> {
        if response.body.is_none() || response.size() <= self.max_answer {
            return Cow::Borrowed(response);
        }
        tracing::warn!(
            bytes = response.size(),
            max = self.max_answer,
            "an answer is larger than the server's `max_allowed_packet` permits, and is not kept"
        );
        Cow::Owned(StoredResponse { body: None, ..response.clone() })
    }
}

/// Makes sure that our settings are in force.
async fn check_session(main: &Connections<MySql>, timeout: Duration) -> Result<(), SetupError> {
    let session = sqlx::query_as("SELECT CAST(@@max_statement_time * 1000 AS signed)");
    let rows: Vec<(i64,)> = tokio::time::timeout(timeout, main.fetch_once(session))
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
    match rows[..] {
        [(found,)] if u128::try_from(found) == Ok(timeout.as_millis()) => Ok(()),
        _ => Err(SetupError::SessionSettings),
    }
}

fn dialect(names: &Names) -> Dialect {
    Dialect {
        now: "UTC_TIMESTAMP(6)",
        // Not when the statement began. Our sessions have UTC for their time zone.
        clock: "SYSDATE(6)",
        never: "NULL",
        never_expires: "expires_at IS NULL",
        since: |time| format!("TIMESTAMPDIFF(MICROSECOND, {time}, UTC_TIMESTAMP(6)) DIV 1000"),
        milliseconds: |parameter| format!("INTERVAL {parameter} * 1000 MICROSECOND"),
        greatest: "greatest",
        smallint: "signed",
        key: "`key`",
        hit: "",
        parameters: Parameters::InOrder,
        table: names.quoted(""),
        fence: format!("NEXTVAL({})", names.quoted("_fence")),
    }
}

/// Compares ids with a parameter, an array in JSON.
const AMONG: &str = "id IN (
    SELECT UNHEX(asked.id) FROM JSON_TABLE($1, '$[*]' COLUMNS (id char(64) PATH '$')) AS asked
)";

/// Rows that somebody is at are left to the next sweep. The join goes by the primary key, and so
/// locks nothing else.
fn sweep(dialect: &Dialect) -> Statement {
    let Dialect { now, table, .. } = dialect;
    dialect.statement(format!(
        "DELETE swept FROM (
            SELECT id FROM {table}
            WHERE version = {RECORD_VERSION} AND expires_at <= {now}
            ORDER BY expires_at LIMIT $1
            FOR UPDATE SKIP LOCKED
        ) AS expired STRAIGHT_JOIN {table} AS swept ON swept.id = expired.id"
    ))
}

#[async_trait]
impl Store for MySqlStore {
    type Database = MySql;

    fn server_timeout(&self) -> Option<Duration> {
        Some(self.statement_timeout)
    }

    async fn claim(&self, claim: &Claim) -> Result<Judged, StoreError> {
        claim::claim(self, claim).await
    }

    async fn complete(
        &self,
        owner: &Owner,
        response: &StoredResponse,
        ttl: Duration,
    ) -> Result<Written, StoreError> {
        let response = self.kept(response);
        let lines = response.header_lines();
        let write = || self.statements.complete(owner, &response, &lines, ttl);
        let look = || self.statements.ended(owner, COMPLETED);
        settled(self.main.write(write), self.main.fetch(look)).await
    }

    async fn fail(&self, owner: &Owner, ttl: Duration) -> Result<Written, StoreError> {
        let write = || self.statements.fail(owner, ttl);
        let look = || self.statements.ended(owner, FAILED);
        settled(self.main.write(write), self.main.fetch(look)).await
    }

    async fn hold(&self, owner: &Owner) -> Result<Written, StoreError> {
        let write = || self.statements.hold(owner);
        let look = || self.statements.ended(owner, HELD);
        settled(self.main.write(write), self.main.fetch(look)).await
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Written, StoreError> {
        let hits = self.renewals.write(|| self.statements.renew(owner, lease)).await?;
        Ok(Written::from_hit(!hits.is_empty()))
    }

    async fn release(&self, owner: &Owner) -> Result<Written, StoreError> {
        let hits = self.main.write(|| self.statements.release(owner)).await?;
        Ok(Written::from_hit(!hits.is_empty()))
    }

    async fn begin(&self, begin: &Begin) -> Result<Begun, StoreError> {
        transaction::begin(self, begin).await
    }

    async fn begin_unguarded(
        &self,
        settings: &TransactionSettings,
    ) -> Result<Box<dyn OpenTransaction>, StoreError> {
        transaction::begin_unguarded(self, settings).await
    }

    async fn not_in_flight(&self, ids: &[RecordId]) -> Result<Vec<RecordId>, StoreError> {
        let asked = hexadecimal(ids);
        let query = || self.in_flight.query(&[Value::Text(&asked)]);
        Ok(others(ids, &self.main.fetch(query).await?))
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.main.fetch(|| self.statements.get(id)).await?.pop().map(record).transpose()
    }

    async fn sweep(&self, limit: u32) -> Result<u64, StoreError> {
        let query = || self.sweep.query(&[Value::Big(i64::from(limit))]);
        Ok(self.main.write(query).await?.len() as u64)
    }

    async fn held(&self, after: Option<Fence>, limit: u32) -> Result<Vec<Held>, StoreError> {
        let rows = self.main.fetch(|| self.statements.held(after, limit)).await?;
        rows.into_iter().map(held).collect()
    }

    async fn resolve(&self, owner: &Owner, resolution: &Resolution) -> Result<Written, StoreError> {
        let attempt = resolution.attempt_after(owner.attempt);
        let resolved = Owner { id: owner.id.clone(), attempt };
        match resolution {
            Resolution::Completed { response, ttl } => {
                let response = self.kept(response);
                let lines = response.header_lines();
                let write =
                    || self.statements.resolve_completed(owner, &resolved, &response, &lines, *ttl);
                let look = || self.statements.ended(&resolved, COMPLETED);
                settled(self.main.write(write), self.main.fetch(look)).await
            }
            Resolution::Failed { ttl } => {
                let write = || self.statements.resolve_failed(owner, &resolved, *ttl);
                let look = || self.statements.ended(&resolved, FAILED);
                settled(self.main.write(write), self.main.fetch(look)).await
            }
        }
    }
}

impl fmt::Debug for MySqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlStore")
            .field("table", &self.names.quoted(""))
            .field("statement_timeout", &self.statement_timeout)
            .finish_non_exhaustive()
    }
}
