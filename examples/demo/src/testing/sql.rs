//! The database behind the example's back.

use sqlx::{
    AssertSqlSafe, Connection, FromRow, PgConnection, SqliteConnection, postgres::PgRow,
    sqlite::SqliteRow,
};

/// Runs statements.
pub async fn execute(url: &str, statements: &str) {
    let statements = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
    if is_sqlite(url) {
        statements.execute(&mut sqlite(url).await).await.unwrap();
    } else {
        statements.execute(&mut postgres(url).await).await.unwrap();
    }
}

/// Reads rows.
pub async fn fetch<T>(url: &str, select: &'static str) -> Vec<T>
where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    if is_sqlite(url) {
        sqlx::query_as(select).fetch_all(&mut sqlite(url).await).await.unwrap()
    } else {
        sqlx::query_as(select).fetch_all(&mut postgres(url).await).await.unwrap()
    }
}

/// Whether the url is a SQLite file's.
pub fn is_sqlite(url: &str) -> bool {
    url.starts_with("sqlite:")
}

async fn sqlite(url: &str) -> SqliteConnection {
    SqliteConnection::connect(url).await.unwrap()
}

async fn postgres(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}
