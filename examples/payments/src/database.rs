//! SQLite or Postgres, as `DATABASE_URL` says: the tables, and the store beside them. Both have the
//! same methods.

use std::{error::Error, fmt, time::Duration};

use idem::{PostgresStore, SqliteStore};
use sqlx::{
    ConnectOptions, Connection, PgPool, SqlitePool, Transaction,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

/// A file. All writing goes through the store's one connection that writes.
#[derive(Clone)]
pub(crate) struct Sqlite {
    file: String,
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Sqlite {
    /// Opens the file, brings the tables up to date, and makes the store in it.
    pub(crate) async fn open(file: &str) -> Result<(Self, SqliteStore), Box<dyn Error>> {
        let store = SqliteStore::open(file)
            .await
            .map_err(|error| Unopened { database: file.to_owned(), source: error.into() })?;
        store.migrate().await?;
        let (writer, readers) = (store.writer().clone(), store.readers().clone());
        sqlx::migrate!("migrations/sqlite").run(&writer).await?;
        Ok((Self { file: file.to_owned(), writer, readers }, store))
    }

    /// A transaction that writes.
    pub(crate) async fn begin(&self) -> sqlx::Result<Transaction<'static, sqlx::Sqlite>> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    pub(crate) async fn reader(&self) -> sqlx::Result<PoolConnection<sqlx::Sqlite>> {
        self.readers.acquire().await
    }

    /// A connection for the simulated provider. It waits while somebody else writes.
    pub(crate) fn of_the_provider(&self) -> SqlitePool {
        let options = SqliteConnectOptions::new().filename(&self.file);
        let options = options.busy_timeout(Duration::from_secs(10));
        SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options)
    }
}

#[derive(Clone)]
pub(crate) struct Postgres(PgPool);

impl Postgres {
    /// Connects, brings the tables up to date, and opens the store beside them.
    pub(crate) async fn open(url: &str) -> Result<(Self, PostgresStore), Box<dyn Error>> {
        let options: PgConnectOptions = url.parse()?;
        let database = format!("{}:{}", options.get_host(), options.get_port());
        // A pool would only say that it timed out.
        let first = options.connect().await;
        first.map_err(|error| Unopened { database, source: error.into() })?.close().await?;
        let pool = pool(options);
        let store = PostgresStore::beside(&pool).connect().await?;
        store.migrate().await?;
        sqlx::migrate!("migrations/postgres").run(&pool).await?;
        Ok((Self(pool), store))
    }

    /// A transaction that writes.
    pub(crate) async fn begin(&self) -> sqlx::Result<Transaction<'static, sqlx::Postgres>> {
        self.0.begin().await
    }

    pub(crate) async fn reader(&self) -> sqlx::Result<PoolConnection<sqlx::Postgres>> {
        self.0.acquire().await
    }

    /// Connections for the simulated provider.
    pub(crate) fn of_the_provider(&self) -> PgPool {
        pool(PgConnectOptions::clone(&self.0.connect_options()))
    }
}

fn pool(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new().acquire_timeout(Duration::from_secs(5)).connect_lazy_with(options)
}

/// Which database it was that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the database {database}")]
struct Unopened {
    database: String,
    source: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SQLite, {}", self.file)
    }
}

/// Without credentials.
impl fmt::Display for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = self.0.connect_options();
        let database = options.get_database().unwrap_or_default();
        write!(f, "Postgres, {}:{}/{database}", options.get_host(), options.get_port())
    }
}
