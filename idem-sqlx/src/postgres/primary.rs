//! Only the server that writes is asked: what a standby has may be old.

use sqlx::{PgConnection, SqlStr};

use crate::dialect::{Dialect, trusted};

/// A statement that reads, which a server that only reads refuses (SQLSTATE 25006): it begins with
/// one that would write and never does. That costs neither WAL nor a transaction id.
pub(super) fn only_there(dialect: &Dialect, sql: &str) -> SqlStr {
    let table = &dialect.table;
    let writable = format!("WITH writable AS (DELETE FROM {table} WHERE false RETURNING 1)");
    trusted(match sql.strip_prefix("WITH ") {
        Some(others) => format!("{writable}, {others}"),
        None => format!("{writable} {sql}"),
    })
}

/// Whether the server, or this session, only reads.
pub(super) async fn only_reads(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let sql = "SELECT current_setting('transaction_read_only')::boolean";
    sqlx::query_scalar(sql).fetch_one(connection).await
}
