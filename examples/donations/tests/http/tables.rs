//! The database behind the example's back.

use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};

/// Opens the file, which is created if it is missing.
pub(crate) async fn open(url: &str) -> SqliteConnection {
    let options: SqliteConnectOptions = url.parse().unwrap();
    SqliteConnection::connect_with(&options.create_if_missing(true)).await.unwrap()
}

/// Runs a statement.
pub(crate) async fn execute(url: &str, statement: &'static str) {
    open(url).await.execute(statement).await.unwrap();
}

/// The keys in the table, oldest first.
pub(crate) async fn keys(url: &str) -> Vec<Option<String>> {
    let select = "SELECT idempotency_key FROM donations ORDER BY id";
    sqlx::query_scalar(select).fetch_all(&mut open(url).await).await.unwrap()
}
