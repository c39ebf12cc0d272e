//! SQLite or Postgres, as `DATABASE_URL` says: the payments, and the store beside them.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use idem::{PostgresStore, SqliteStore, Store};
use sqlx::{
    ConnectOptions, Connection, PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    auth::User,
    payments::{Payment, PaymentError},
};

#[derive(Clone)]
pub(crate) enum Database {
    Sqlite { file: String, writer: SqlitePool, readers: SqlitePool },
    Postgres(PgPool),
}

impl Database {
    /// Connects, brings the tables up to date, and opens the store in the same database.
    pub(crate) async fn connect(url: &str) -> Result<(Self, Arc<dyn Store>), Box<dyn Error>> {
        if let Some(file) = url.strip_prefix("sqlite:") {
            let file = file.strip_prefix("//").unwrap_or(file);
            let store = SqliteStore::open(file)
                .await
                .map_err(|error| Unopened { database: file.to_owned(), source: error.into() })?;
            store.migrate().await?;
            let (writer, readers) = (store.writer().clone(), store.readers().clone());
            sqlx::migrate!("migrations/sqlite").run(&writer).await?;
            let file = file.to_owned();
            Ok((Self::Sqlite { file, writer, readers }, Arc::new(store)))
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options: PgConnectOptions = url.parse()?;
            let database = format!("{}:{}", options.get_host(), options.get_port());
            // A pool would only say that it timed out.
            let first = options.connect().await;
            first.map_err(|error| Unopened { database, source: error.into() })?.close().await?;
            let pool = PgPoolOptions::new()
                .acquire_timeout(Duration::from_secs(5))
                .connect_lazy_with(options);
            let store = PostgresStore::connect(url).await?;
            store.migrate().await?;
            sqlx::migrate!("migrations/postgres").run(&pool).await?;
            Ok((Self::Postgres(pool), Arc::new(store)))
        } else {
            Err("DATABASE_URL must begin with sqlite: or postgres://".into())
        }
    }

    /// Keeps a payment, or finds it kept already.
    pub(crate) async fn insert(
        &self,
        user: &User,
        payment: Payment,
    ) -> Result<Payment, PaymentError> {
        const INSERT: &str = "INSERT INTO payments (id, payer, amount, currency, payee) \
                              VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING";
        const SELECT: &str = "SELECT id, amount, currency, payee FROM payments WHERE id = $1";
        macro_rules! insert_and_select {
            ($pool:expr) => {{
                sqlx::query(INSERT)
                    .bind(&payment.id)
                    .bind(&user.0)
                    .bind(payment.amount)
                    .bind(&payment.currency)
                    .bind(&payment.to)
                    .execute($pool)
                    .await?;
                sqlx::query_as(SELECT).bind(&payment.id).fetch_one($pool).await?
            }};
        }
        let kept = match self {
            Self::Sqlite { writer, .. } => insert_and_select!(writer),
            Self::Postgres(pool) => insert_and_select!(pool),
        };
        if kept == payment { Ok(kept) } else { Err(PaymentError::KeyUsed) }
    }

    /// Newest first.
    pub(crate) async fn payments_of(&self, user: &User) -> sqlx::Result<Vec<Payment>> {
        const SELECT: &str = "SELECT id, amount, currency, payee FROM payments \
                              WHERE payer = $1 ORDER BY seq DESC";
        match self {
            Self::Sqlite { readers, .. } => {
                sqlx::query_as(SELECT).bind(&user.0).fetch_all(readers).await
            }
            Self::Postgres(pool) => sqlx::query_as(SELECT).bind(&user.0).fetch_all(pool).await,
        }
    }
}

/// Which database it was that could not be opened.
#[derive(Debug)]
struct Unopened {
    database: String,
    source: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for Unopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot open the database {}", self.database)
    }
}

impl Error for Unopened {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// Without credentials.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { file, .. } => write!(f, "SQLite, {file}"),
            Self::Postgres(pool) => {
                let options = pool.connect_options();
                let database = options.get_database().unwrap_or_default();
                write!(f, "Postgres, {}:{}/{database}", options.get_host(), options.get_port())
            }
        }
    }
}
