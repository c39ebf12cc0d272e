//! Only the server that writes is asked: what a standby has may be old.

use crate::{dialect::Dialect, statement::Statement};

/// A statement that reads, which a server that only reads refuses (SQLSTATE 25006): it begins with
/// one that would write and never does. That costs neither WAL nor a transaction id.
pub(super) fn only_there(dialect: &Dialect, sql: &str) -> Statement {
    let table = &dialect.table;
    let writable = format!("WITH writable AS (DELETE FROM {table} WHERE false RETURNING 1)");
    dialect.statement(match sql.strip_prefix("WITH ") {
        Some(others) => format!("{writable}, {others}"),
        None => format!("{writable} {sql}"),
    })
}
