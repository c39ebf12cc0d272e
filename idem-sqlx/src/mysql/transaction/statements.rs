//! The statements of an execution.

use std::time::Duration;

use idem_core::RECORD_VERSION;

use super::super::server::seconds;
use crate::{
    dialect::{Dialect, FREE},
    row::{COMPLETED, FAILED},
    statement::Statement,
};

/// The statements of an execution.
pub(in crate::mysql) struct Executions {
    pub(super) insert: Statement,
    pub(super) take: Statement,
    pub(super) record: Statement,
    pub(super) record_new: Statement,
    pub(super) record_over: Statement,
    pub(super) probe: Statement,
    pub(super) forget: Statement,
    pub(super) is_taken: Statement,
}

impl Executions {
    pub(in crate::mysql) fn new(dialect: &Dialect, timeout: Duration) -> Self {
        // On the handler's connection, whose session is the application's: no statement of ours
        // depends on its time zone, on `SET timestamp`, or on how long it waits for locks.
        let ours = format!(
            "SET STATEMENT time_zone = '+00:00', innodb_lock_wait_timeout = 0, \
             max_statement_time = {} FOR",
            seconds(timeout)
        );
        let there = Dialect { now: dialect.clock, ..dialect.clone() };
        Self {
            insert: insert(&there, &ours),
            take: take(&there, &ours),
            record: record(&there, &ours),
            record_new: record_new(dialect),
            record_over: record_over(dialect),
            probe: probe(dialect),
            forget: forget(dialect),
            is_taken: is_taken(dialect),
        }
    }
}

/// Takes an absent record's place, so that others find it locked. Should the handler commit by
/// itself, what is left has expired already.
fn insert(dialect: &Dialect, ours: &str) -> Statement {
    let Dialect { now, table, fence, key, .. } = dialect;
    dialect.statement(format!(
        "{ours} INSERT INTO {table} (
            id, operation, scope, {key}, version, fingerprint, state, hold, attempt, fence,
            number, takeover, created_at, lease_until, expires_at
        )
        VALUES (
            $1, $4, $5, $6, {RECORD_VERSION}, $3, {FAILED}, false, $2, {fence},
            1, false, {now}, {now}, {now}
        )
        RETURNING fence"
    ))
}

/// Locks a record that is there, if it is still as it was seen, and makes it ours. To others it
/// stays as free as it was. The server hands the new fence back as the last id.
fn take(dialect: &Dialect, ours: &str) -> Statement {
    let Dialect { now, table, fence, .. } = dialect;
    let verdict = dialect.verdict();
    dialect.statement(format!(
        "{ours} UPDATE {table} AS r SET
            r.number = $6,
            r.takeover = $7,
            r.created_at = CASE WHEN r.expires_at <= {now} THEN {now} ELSE r.created_at END,
            r.attempt = $2,
            r.fence = LAST_INSERT_ID({fence})
        WHERE r.id = $1 AND {verdict} = $4 AND r.fence = $5"
    ))
}

/// Writes the record over what took its place.
fn record(dialect: &Dialect, ours: &str) -> Statement {
    let Dialect { now, table, .. } = dialect;
    let expiry = dialect.in_future("$12");
    dialect.statement(format!(
        "{ours} UPDATE {table} SET
            fingerprint = $3, state = {COMPLETED}, hold = false, fence = $7, number = $8,
            lease_until = {now}, expires_at = {expiry}, status = $9, headers = $10, body = $11
        WHERE id = $1 AND attempt = $2"
    ))
}

/// Writes the record of an answer whose transaction was rolled back.
fn record_new(dialect: &Dialect) -> Statement {
    let Dialect { now, table, key, .. } = dialect;
    let expiry = dialect.in_future("$12");
    dialect.statement(format!(
        "INSERT INTO {table} (
            id, operation, scope, {key}, version, fingerprint, state, hold, attempt, fence,
            number, takeover, created_at, lease_until, expires_at, status, headers, body
        )
        VALUES (
            $1, $4, $5, $6, {RECORD_VERSION}, $3, {COMPLETED}, false, $2, $7,
            $8, false, {now}, {now}, {expiry}, $9, $10, $11
        )"
    ))
}

/// The same over a record that is there, if nobody has completed or claimed it since the fence was
/// drawn. Those columns come first that depend on what was.
fn record_over(dialect: &Dialect) -> Statement {
    let Dialect { now, table, .. } = dialect;
    let (verdict, expiry) = (dialect.verdict(), dialect.in_future("$12"));
    dialect.statement(format!(
        "UPDATE {table} AS r SET
            r.takeover = ({verdict} = 'lapsed'),
            r.created_at = CASE WHEN r.expires_at <= {now} THEN {now} ELSE r.created_at END,
            r.fingerprint = $3, r.state = {COMPLETED}, r.hold = false, r.attempt = $2, r.fence = $7,
            r.number = $8, r.lease_until = {now}, r.expires_at = {expiry}, r.status = $9,
            r.headers = $10, r.body = $11
        WHERE r.id = $1 AND {verdict} IN {FREE} AND r.fence < $7"
    ))
}

/// Whether an execution has committed its record. It meets a lock for as long as the server is still
/// at that transaction.
fn probe(dialect: &Dialect) -> Statement {
    dialect.statement(format!(
        "SELECT 1 FROM {} WHERE id = $1 AND attempt = $2 AND state = {COMPLETED} FOR UPDATE",
        dialect.table
    ))
}

/// Removes what a handler that committed by itself left of a record that had been absent.
fn forget(dialect: &Dialect) -> Statement {
    dialect.statement(format!(
        "DELETE FROM {} WHERE id = $1 AND attempt = $2 AND state = {FAILED} AND fence = $3",
        dialect.table
    ))
}

/// Whether a handler has committed by itself that a record is its own.
fn is_taken(dialect: &Dialect) -> Statement {
    dialect.statement(format!("SELECT 1 FROM {} WHERE id = $1 AND attempt = $2", dialect.table))
}
