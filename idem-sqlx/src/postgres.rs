//! Records in Postgres.

mod builder;
mod courier;
mod layout;
#[cfg(test)]
mod plan;
mod primary;
mod server;
mod transaction;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use idem_core::{
    Announcements, Begin, Begun, Claim, Fence, Held, Judged, OpenTransaction, Owner,
    RECORD_VERSION, Record, RecordId, Resolution, Store, StoreError, StoredResponse,
    TransactionSettings, Written,
};
use sqlx::{
    PgPool, Postgres,
    postgres::{PgConnectOptions, PgPoolOptions},
};

pub use self::builder::PostgresBuilder;
use self::{courier::Courier, layout::Layout, primary::only_there};
use crate::{
    connections::Connections,
    dialect::{Dialect, FREE},
    error::SetupError,
    names::Names,
    row::{COMPLETED, FAILED, HELD, Hit, held, judged, record, settled},
    sql::{Statements, others},
    statement::{Parameters, Statement, Value},
};

/// Records in Postgres 13 or later.
///
/// A first request costs two statements, the claim and its ending; a replay costs one, which takes
/// no row lock and writes nothing. Each is a transaction of its own, on connections that belong to
/// the store, so that handlers which hold all of the application's connections cannot keep an
/// execution from being renewed or recorded.
///
/// Time is the server's clock. A server that is restarted costs no request its claim: statements
/// are sent again, which none of them minds.
///
/// TLS comes from `sqlx`: enable one of its features `tls-…` in the application.
///
/// Only the server that writes is asked. One that only reads, like a standby, is refused by
/// [`connect`](PostgresBuilder::connect), and a connection to one that came to only read, or that a
/// name or a proxy led to such a one after a failover, is closed and replaced: no request is
/// answered by what a standby has. Where several servers are behind one name, let it be that of the
/// one that writes.
///
/// Connect to the server itself: poolers that hand out a connection for each transaction tend to
/// drop the settings that a session starts with, and [`connect`](PostgresBuilder::connect) refuses
/// a server on which the statement timeout is not in force.
///
/// Clones share their connections.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use idem_core::Idem;
/// use idem_sqlx::PostgresStore;
///
/// let store = PostgresStore::connect("postgres://localhost/shop").await?;
/// store.migrate().await?;
/// let idem = Idem::builder(store).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresStore {
    main: Connections<Postgres>,
    renewals: Connections<Postgres>,
    /// Where handlers' transactions are begun.
    transactions: PgPool,
    /// Tells and hears of endings, if it is to.
    courier: Option<Courier>,
    claim: Statement,
    sweep: Statement,
    look: Statement,
    decide: Statement,
    lock: Statement,
    record: Statement,
    in_flight: Statement,
    statements: Arc<Statements<Postgres>>,
    names: Names,
    statement_timeout: Duration,
    options: PgConnectOptions,
    layout: Layout,
}

impl PostgresStore {
    /// Connects to the database of a URL, with all settings as usual.
    ///
    /// # Errors
    ///
    /// As [`PostgresBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, SetupError> {
        Self::builder(url.parse()?).connect().await
    }

    /// A store with settings of its own: `PostgresStore::builder(url.parse()?)`.
    pub fn builder(options: PgConnectOptions) -> PostgresBuilder {
        PostgresBuilder::new(options, None)
    }

    /// A store on the same server as an application's pool. The transactions of handlers that take
    /// a `Tx` are begun on that pool, so that they are what the application's own are; for all else
    /// the store has connections of its own, to which the pool's `after_connect` does nothing.
    ///
    /// ```no_run
    /// # async fn example(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
    /// let store = idem_sqlx::PostgresStore::beside(&pool).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn beside(pool: &PgPool) -> PostgresBuilder {
        PostgresBuilder::new(PgConnectOptions::clone(&pool.connect_options()), Some(pool.clone()))
    }

    /// Connects, and finds out in which schema the tables are: from then on their names are
    /// qualified, because a handler may change its transaction's `search_path`.
    async fn open(builder: &PostgresBuilder, names: Names) -> Result<Self, SetupError> {
        let options = builder.startup_options();
        let timeout = builder.statement_timeout;
        let connections =
            |number| Connections::new(PgPoolOptions::new(), options.clone(), number, timeout);
        let main = connections(builder.max_connections);
        let schema = check_session(&main, timeout, &names).await?;
        let names = if names.schema().is_some() { names } else { names.found_in(schema) };
        let dialect = dialect(&names);
        let courier = builder.listens.then(|| Courier::start(options.clone(), timeout, &names));
        Ok(Self {
            main,
            renewals: connections(1),
            transactions: builder.transactions(),
            courier,
            claim: claim(&dialect),
            sweep: sweep(&dialect),
            look: only_there(&dialect, &dialect.look()),
            decide: transaction::decide(&dialect),
            lock: transaction::lock(&dialect),
            record: transaction::record(&dialect),
            in_flight: only_there(&dialect, dialect.in_flight("id = ANY ($1)").as_str()),
            statements: Arc::new(
                Statements::new(&dialect).reading_by(|sql| only_there(&dialect, sql.as_str())),
            ),
            names,
            statement_timeout: timeout,
            options: builder.options.clone(),
            layout: builder.layout,
        })
    }

    /// Makes the tables, or brings them up to date; several servers may do so at once. What was done
    /// is written down in a table of its own, `idem_migrations`, apart from the application's
    /// migrations. A schema that was chosen and is not there is created.
    ///
    /// An application that runs its own migrations takes over the files in this crate's
    /// `migrations/postgres` instead, and does not call this. If the store is
    /// [`partitioned`](PostgresBuilder::partitioned), those in `migrations/postgres-partitioned` follow.
    ///
    /// # Errors
    ///
    /// [`SetupError::Connect`] or [`SetupError::Migrate`]; [`SetupError::IsPartitioned`] or
    /// [`SetupError::NotPartitioned`] if the table has the other layout than the store is set to.
    pub async fn migrate(&self) -> Result<(), SetupError> {
        layout::migrate(self).await
    }

    /// Brings the tables up to date, and moves all records into the 16 partitions of a
    /// [`partitioned`](PostgresBuilder::partitioned) table, if they are in a plain one. It is one
    /// transaction, and nobody can use the table meanwhile: requests are refused, and an execution
    /// whose lease lapses before the end can be taken over. So do it when little is going on, or
    /// delete what has expired before. Privileges that were granted on the table are not granted on
    /// the new one.
    ///
    /// # Errors
    ///
    /// [`SetupError::Connect`] or [`SetupError::Migrate`].
    pub async fn partition(&self) -> Result<(), SetupError> {
        layout::partition(self).await
    }

    /// Hands an ending on if it was written.
    fn announced(
        &self,
        id: &RecordId,
        written: Result<Written, StoreError>,
    ) -> Result<Written, StoreError> {
        if matches!(written, Ok(Written::Accepted)) {
            self.announce(id);
        }
        written
    }

    /// Others may look at the record now.
    fn announce(&self, id: &RecordId) {
        if let Some(courier) = &self.courier {
            courier.announce(id);
        }
    }
}

/// Makes sure that the server writes and our settings are in force, and returns the schema in which our table is or would
/// be made.
async fn check_session(
    main: &Connections<Postgres>,
    timeout: Duration,
    names: &Names,
) -> Result<String, SetupError> {
    let session = "SELECT setting, current_setting('transaction_read_only')::boolean,
            coalesce((SELECT nspname FROM pg_class
                JOIN pg_namespace ON pg_namespace.oid = relnamespace
                WHERE pg_class.oid = to_regclass($1)), current_schema())::text
        FROM pg_settings WHERE name = 'statement_timeout'";
    let table = names.quoted("");
    let query = sqlx::query_as(session).bind(&table);
    let rows: Vec<(String, bool, Option<String>)> =
        tokio::time::timeout(timeout, main.fetch_once(query))
            .await
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
    let expected = timeout.as_millis().to_string();
    match rows.into_iter().find(|(setting, ..)| *setting == expected) {
        Some((_, true, _)) => Err(SetupError::ReadOnly),
        Some((_, false, schema)) => schema.ok_or(SetupError::NoSchema),
        None => Err(SetupError::StartupOptions),
    }
}

fn dialect(names: &Names) -> Dialect {
    Dialect {
        now: "now()",
        clock: "clock_timestamp()",
        never: "timestamptz 'infinity'",
        never_expires: "expires_at = timestamptz 'infinity'",
        since: |time| format!("CAST(extract(epoch FROM now() - {time}) * 1000 AS bigint)"),
        milliseconds: |parameter| format!("{parameter} * interval '1 millisecond'"),
        greatest: "greatest",
        smallint: "smallint",
        key: "key",
        hit: " RETURNING 1",
        parameters: Parameters::Numbered,
        table: names.quoted(""),
        fence: format!("nextval('{}')", names.quoted("_fence").replace('\'', "''")),
    }
}

/// Decides and wins in one statement. It yields no row when the record came to be, or changed,
/// after the statement began to look.
fn claim(dialect: &Dialect) -> Statement {
    let look = dialect.look();
    let win = dialect.win(&format!("NOT EXISTS (SELECT FROM seen WHERE verdict NOT IN {FREE})"));
    dialect.statement(format!(
        "WITH seen AS MATERIALIZED ({look}), won AS ({win})
        SELECT * FROM won
        UNION ALL
        SELECT * FROM seen WHERE verdict NOT IN {FREE}"
    ))
}

/// The array makes sure that the rows are chosen once, whatever the plan.
fn sweep(dialect: &Dialect) -> Statement {
    let Dialect { now, table, .. } = dialect;
    dialect.statement(format!(
        "DELETE FROM {table} WHERE id = ANY (ARRAY(
            SELECT id FROM {table}
            WHERE version = {RECORD_VERSION} AND expires_at <= {now}
            ORDER BY expires_at LIMIT $1
            FOR UPDATE SKIP LOCKED
        ))
        RETURNING 1"
    ))
}

#[async_trait]
impl Store for PostgresStore {
    type Database = Postgres;

    fn server_timeout(&self) -> Option<Duration> {
        Some(self.statement_timeout)
    }

    async fn claim(&self, claim: &Claim) -> Result<Judged, StoreError> {
        // Each repetition finds what it had to wait for, so more than two are rare.
        const TRIES: u32 = 10;
        for _ in 0..TRIES {
            let query = || Statements::claim(&self.claim, claim);
            if let Some(row) = self.main.fetch(query).await?.pop()
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
        let write = || self.statements.complete(owner, response, &lines, ttl);
        let look = || self.statements.ended(owner, COMPLETED);
        self.announced(&owner.id, settled(self.main.write(write), self.main.fetch(look)).await)
    }

    async fn fail(&self, owner: &Owner, ttl: Duration) -> Result<Written, StoreError> {
        let write = || self.statements.fail(owner, ttl);
        let look = || self.statements.ended(owner, FAILED);
        self.announced(&owner.id, settled(self.main.write(write), self.main.fetch(look)).await)
    }

    async fn hold(&self, owner: &Owner) -> Result<Written, StoreError> {
        let write = || self.statements.hold(owner);
        let look = || self.statements.ended(owner, HELD);
        self.announced(&owner.id, settled(self.main.write(write), self.main.fetch(look)).await)
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Written, StoreError> {
        let hits = self.renewals.write(|| self.statements.renew(owner, lease)).await?;
        Ok(Written::from_hit(!hits.is_empty()))
    }

    async fn release(&self, owner: &Owner) -> Result<Written, StoreError> {
        let hits = self.main.write(|| self.statements.release(owner)).await?;
        self.announced(&owner.id, Ok(Written::from_hit(!hits.is_empty())))
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
        let digests: Vec<&[u8]> = ids.iter().map(|id| &id.digest()[..]).collect();
        let query = || sqlx::query_as(&self.in_flight).bind(&digests);
        Ok(others(ids, &self.main.fetch(query).await?))
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.main.fetch(|| self.statements.get(id)).await?.pop().map(record).transpose()
    }

    fn announcements(&self) -> Option<Announcements> {
        self.courier.as_ref().map(Courier::announcements)
    }

    async fn sweep(&self, limit: u32) -> Result<u64, StoreError> {
        let query = || self.sweep.query(&[Value::Big(i64::from(limit))]);
        let hits: Vec<Hit> = self.main.fetch(query).await?;
        Ok(hits.len() as u64)
    }

    async fn held(&self, after: Option<Fence>, limit: u32) -> Result<Vec<Held>, StoreError> {
        let rows = self.main.fetch(|| self.statements.held(after, limit)).await?;
        rows.into_iter().map(held).collect()
    }

    async fn resolve(&self, owner: &Owner, resolution: &Resolution) -> Result<Written, StoreError> {
        let attempt = resolution.attempt_after(owner.attempt);
        let resolved = Owner { id: owner.id.clone(), attempt };
        let written = match resolution {
            Resolution::Completed { response, ttl } => {
                let lines = response.header_lines();
                let write =
                    || self.statements.resolve_completed(owner, &resolved, response, &lines, *ttl);
                let look = || self.statements.ended(&resolved, COMPLETED);
                settled(self.main.write(write), self.main.fetch(look)).await
            }
            Resolution::Failed { ttl } => {
                let write = || self.statements.resolve_failed(owner, &resolved, *ttl);
                let look = || self.statements.ended(&resolved, FAILED);
                settled(self.main.write(write), self.main.fetch(look)).await
            }
        };
        self.announced(&owner.id, written)
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("table", &self.names.quoted(""))
            .field("statement_timeout", &self.statement_timeout)
            .finish_non_exhaustive()
    }
}
