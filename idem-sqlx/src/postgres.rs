//! Records in Postgres.

mod builder;
mod connections;
#[cfg(test)]
mod plan;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use idem_core::{
    Claim, Claimed, Owner, RECORD_VERSION, Record, RecordId, Store, StoreError, StoredResponse,
    Written,
};
use sqlx::{
    PgPool, Postgres, SqlStr,
    postgres::{PgConnectOptions, PgPoolOptions},
};

pub use self::builder::PostgresBuilder;
use self::connections::Connections;
use crate::{
    error::SetupError,
    migrate::{File, migrator},
    names::Names,
    row::{COMPLETED, FAILED, HELD, Hit, claimed, record, settled},
    sql::{Dialect, Statements, trusted},
};

const FILES: &[File] = &[File {
    version: 1,
    description: "records",
    sql: include_str!("../migrations/postgres/0001_records.sql"),
}];

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
    main: Connections,
    renewals: Connections,
    claim: SqlStr,
    sweep: SqlStr,
    statements: Arc<Statements<Postgres>>,
    names: Names,
    statement_timeout: Duration,
    options: PgConnectOptions,
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
        PostgresBuilder::new(options)
    }

    /// A store on the same server as an application's pool, with connections of its own. What the
    /// pool does to its connections in `after_connect` is not done to the store's.
    ///
    /// ```no_run
    /// # async fn example(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
    /// let store = idem_sqlx::PostgresStore::beside(&pool).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn beside(pool: &PgPool) -> PostgresBuilder {
        PostgresBuilder::new(PgConnectOptions::clone(&pool.connect_options()))
    }

    fn new(builder: &PostgresBuilder, names: Names) -> Self {
        let dialect = dialect(&names);
        let options = builder.startup_options();
        let timeout = builder.statement_timeout;
        Self {
            main: Connections::new(options.clone(), builder.max_connections, timeout),
            renewals: Connections::new(options, 1, timeout),
            claim: claim(&dialect),
            sweep: sweep(&dialect),
            statements: Arc::new(Statements::new(&dialect)),
            names,
            statement_timeout: timeout,
            options: builder.options.clone(),
        }
    }

    async fn check_startup_options(&self) -> Result<(), SetupError> {
        let setting = "SELECT setting FROM pg_settings WHERE name = 'statement_timeout'";
        let query = sqlx::query_as(setting);
        let rows: Vec<(String,)> =
            tokio::time::timeout(self.statement_timeout, self.main.fetch_once(query))
                .await
                .unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
        let expected = self.statement_timeout.as_millis().to_string();
        if rows.iter().any(|(it,)| *it == expected) {
            Ok(())
        } else {
            Err(SetupError::StartupOptions)
        }
    }

    /// Makes the tables, or brings them up to date; several servers may do so at once. What was done
    /// is written down in a table of its own, `idem_migrations`, apart from the application's
    /// migrations. A schema that was chosen and is not there is created.
    ///
    /// An application that runs its own migrations takes over the files in this crate's
    /// `migrations/postgres` instead, and does not call this.
    ///
    /// # Errors
    ///
    /// [`SetupError::Connect`] or [`SetupError::Migrate`].
    pub async fn migrate(&self) -> Result<(), SetupError> {
        // Waiting for another server's migrations, or for an index, may take long.
        let options = self.options.clone().options([("statement_timeout", "0")]);
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(self.statement_timeout);
        let pool = pool.connect_with(options).await?;
        let mut migrator = migrator(FILES, &self.names);
        if let Some(schema) = self.names.schema() {
            // `CREATE SCHEMA IF NOT EXISTS` needs the right to create it although it is there.
            let exists = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
            if !sqlx::query_scalar(exists).bind(schema).fetch_one(&pool).await? {
                migrator.create_schema(format!("\"{schema}\""));
            }
        }
        migrator.run(&pool).await.map_err(SetupError::Migrate)?;
        pool.close().await;
        Ok(())
    }
}

fn dialect(names: &Names) -> Dialect {
    Dialect {
        now: "now()",
        clock: "clock_timestamp()",
        never: "timestamptz 'infinity'",
        millisecond: "interval '1 millisecond'",
        greatest: "greatest",
        table: names.quoted(""),
        fence: format!("nextval('{}')", names.quoted("_fence")),
    }
}

/// Decides and wins in one statement. It yields no row when the record came to be, or changed,
/// after the statement began to look.
fn claim(dialect: &Dialect) -> SqlStr {
    let look = dialect.look();
    let win =
        dialect.win("NOT EXISTS (SELECT FROM seen WHERE verdict NOT IN ('expired', 'again'))");
    trusted(format!(
        "WITH seen AS MATERIALIZED ({look}), won AS ({win})
        SELECT * FROM won
        UNION ALL
        SELECT * FROM seen WHERE verdict NOT IN ('expired', 'again')"
    ))
}

/// The array makes sure that the rows are chosen once, whatever the plan.
fn sweep(dialect: &Dialect) -> SqlStr {
    let Dialect { now, table, .. } = dialect;
    trusted(format!(
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

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        // Each repetition finds what it had to wait for, so more than two are rare.
        const TRIES: u32 = 10;
        for _ in 0..TRIES {
            let query = || Statements::claim(&self.claim, claim);
            if let Some(row) = self.main.fetch(query).await?.pop()
                && let Some(claimed) = claimed(row)?
            {
                return Ok(claimed);
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
        settled(self.main.fetch(write), self.main.fetch(look)).await
    }

    async fn fail(&self, owner: &Owner, ttl: Duration) -> Result<Written, StoreError> {
        let write = || self.statements.fail(owner, ttl);
        let look = || self.statements.ended(owner, FAILED);
        settled(self.main.fetch(write), self.main.fetch(look)).await
    }

    async fn hold(&self, owner: &Owner) -> Result<Written, StoreError> {
        let write = || self.statements.hold(owner);
        let look = || self.statements.ended(owner, HELD);
        settled(self.main.fetch(write), self.main.fetch(look)).await
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Written, StoreError> {
        let hits = self.renewals.fetch(|| self.statements.renew(owner, lease)).await?;
        Ok(Written::from_hit(!hits.is_empty()))
    }

    async fn release(&self, owner: &Owner) -> Result<Written, StoreError> {
        let hits = self.main.fetch(|| self.statements.release(owner)).await?;
        Ok(Written::from_hit(!hits.is_empty()))
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.main.fetch(|| self.statements.get(id)).await?.pop().map(record).transpose()
    }

    async fn sweep(&self, limit: u32) -> Result<u64, StoreError> {
        let query = || sqlx::query_as(self.sweep.clone()).bind(i64::from(limit));
        let hits: Vec<Hit> = self.main.fetch(query).await?;
        Ok(hits.len() as u64)
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
