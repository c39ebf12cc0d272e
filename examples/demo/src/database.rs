//! SQLite or Postgres, as `DATABASE_URL` says: the tables, and the store beside them. Both have the
//! same methods.

use std::{error::Error, fmt, num::NonZeroU32, time::Duration};

use idem::{PostgresStore, SqliteStore};
use sqlx::{
    ConnectOptions, Connection, PgPool, SqlitePool, Transaction,
    migrate::{MigrateError, Migrator},
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::SqliteConnectOptions,
};

/// How many connections a pool has unless the example says otherwise.
pub const MAX_CONNECTIONS: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// An example's tables.
#[derive(Debug)]
pub struct Migrations {
    /// `sqlx::migrate!("migrations/sqlite")`.
    pub sqlite: Migrator,
    /// `sqlx::migrate!("migrations/postgres")`.
    pub postgres: Migrator,
}

/// A database, and the store in it.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one in each process")]
pub enum Opened {
    /// `sqlite:<file>`.
    Sqlite(Sqlite, SqliteStore),
    /// `postgres://…`.
    Postgres(Postgres, PostgresStore),
}

impl Opened {
    /// Opens what `DATABASE_URL` names, brings the tables up to date, and makes the store.
    ///
    /// # Errors
    ///
    /// Says which database cannot be opened, and why.
    pub async fn open(url: &str, migrations: &Migrations) -> Result<Self, Box<dyn Error>> {
        Self::open_with(url, migrations, MAX_CONNECTIONS).await
    }

    /// The same, with at most so many connections for the application, and as many for the store. One
    /// more renews leases. On SQLite they share those that read, and there is one that writes.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_with(
        url: &str,
        migrations: &Migrations,
        max_connections: NonZeroU32,
    ) -> Result<Self, Box<dyn Error>> {
        if url.starts_with(SQLITE) {
            let (database, store) =
                Sqlite::open_with(url, &migrations.sqlite, max_connections).await?;
            Ok(Self::Sqlite(database, store))
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let (database, store) =
                Postgres::open_with(url, &migrations.postgres, max_connections).await?;
            Ok(Self::Postgres(database, store))
        } else {
            Err("DATABASE_URL must begin with sqlite: or postgres://".into())
        }
    }
}

const SQLITE: &str = "sqlite:";

/// A file. All writing goes through the store's one connection that writes.
#[derive(Clone, Debug)]
pub struct Sqlite {
    file: String,
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Sqlite {
    /// Opens the file that a url names, brings the tables up to date, and makes the store in it.
    ///
    /// # Errors
    ///
    /// Says which file cannot be opened, and why.
    pub async fn open(
        url: &str,
        migrations: &Migrator,
    ) -> Result<(Self, SqliteStore), Box<dyn Error>> {
        Self::open_with(url, migrations, MAX_CONNECTIONS).await
    }

    /// The same, with at most so many connections that read.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_with(
        url: &str,
        migrations: &Migrator,
        max_readers: NonZeroU32,
    ) -> Result<(Self, SqliteStore), Box<dyn Error>> {
        let file = url.strip_prefix(SQLITE).ok_or("DATABASE_URL must begin with sqlite:")?;
        let file = file.strip_prefix("//").unwrap_or(file);
        let store = SqliteStore::builder(SqliteConnectOptions::new().filename(file))
            .max_readers(max_readers.get())
            .open()
            .await
            .map_err(|error| Unopened { database: file.to_owned(), source: error.into() })?;
        store.migrate().await?;
        let (writer, readers) = (store.writer().clone(), store.readers().clone());
        migrate(&writer, migrations).await?;
        Ok((Self { file: file.to_owned(), writer, readers }, store))
    }

    /// A transaction that writes.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn begin(&self) -> sqlx::Result<Transaction<'static, sqlx::Sqlite>> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// A connection that reads.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn reader(&self) -> sqlx::Result<PoolConnection<sqlx::Sqlite>> {
        self.readers.acquire().await
    }

    /// Where the data are.
    pub fn file(&self) -> &str {
        &self.file
    }
}

/// The migrator takes no lock on SQLite, and several processes may start at once. Where nothing is to be
/// done, nobody waits for another process that writes.
async fn migrate(writer: &SqlitePool, migrations: &Migrator) -> Result<(), MigrateError> {
    match migrate_in("BEGIN", writer, migrations).await {
        Err(error) if idem::is_conflict(&error) => {
            migrate_in("BEGIN IMMEDIATE", writer, migrations).await
        }
        result => result,
    }
}

async fn migrate_in(
    begin: &'static str,
    writer: &SqlitePool,
    migrations: &Migrator,
) -> Result<(), MigrateError> {
    let mut transaction = writer.begin_with(begin).await?;
    migrations.run(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

/// A pool, which serves handlers' transactions, too.
#[derive(Clone, Debug)]
pub struct Postgres(PgPool);

impl Postgres {
    /// Connects, brings the tables up to date, and opens the store beside them.
    ///
    /// # Errors
    ///
    /// Says which server cannot be reached, and why.
    pub async fn open(
        url: &str,
        migrations: &Migrator,
    ) -> Result<(Self, PostgresStore), Box<dyn Error>> {
        Self::open_with(url, migrations, MAX_CONNECTIONS).await
    }

    /// The same, with at most so many connections in the pool, and as many in the store.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_with(
        url: &str,
        migrations: &Migrator,
        max_connections: NonZeroU32,
    ) -> Result<(Self, PostgresStore), Box<dyn Error>> {
        let options: PgConnectOptions = url.parse()?;
        let database = format!("{}:{}", options.get_host(), options.get_port());
        // A pool would only say that it timed out.
        let first = options.connect().await;
        first.map_err(|error| Unopened { database, source: error.into() })?.close().await?;
        let max_connections = max_connections.get();
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy_with(options);
        let store = PostgresStore::beside(&pool).max_connections(max_connections).connect().await?;
        store.migrate().await?;
        migrations.run(&pool).await?;
        Ok((Self(pool), store))
    }

    /// A transaction that writes.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn begin(&self) -> sqlx::Result<Transaction<'static, sqlx::Postgres>> {
        self.0.begin().await
    }

    /// A connection that reads.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn reader(&self) -> sqlx::Result<PoolConnection<sqlx::Postgres>> {
        self.0.acquire().await
    }

    /// The connections.
    pub fn pool(&self) -> &PgPool {
        &self.0
    }
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

/// Either of them, for handlers that take no `Tx`; see [`on!`](crate::on).
#[derive(Clone, Debug)]
pub enum Database {
    /// A file.
    Sqlite(Sqlite),
    /// A server.
    Postgres(Postgres),
}

impl From<Sqlite> for Database {
    fn from(it: Sqlite) -> Self {
        Self::Sqlite(it)
    }
}

impl From<Postgres> for Database {
    fn from(it: Postgres) -> Self {
        Self::Postgres(it)
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(it) => it.fmt(f),
            Self::Postgres(it) => it.fmt(f),
        }
    }
}

/// Does the same on whichever [`Database`] it is: the SQL is the same, the types are not.
///
/// ```
/// # async fn count(database: &demo::Database) -> sqlx::Result<i64> {
/// demo::on!(database, |it| {
///     sqlx::query_scalar("SELECT count(*) FROM idem").fetch_one(&mut *it.reader().await?).await
/// })
/// # }
/// ```
#[macro_export]
macro_rules! on {
    ($database:expr, |$it:ident| $work:expr) => {
        match $database {
            $crate::Database::Sqlite($it) => $work,
            $crate::Database::Postgres($it) => $work,
        }
    };
}
