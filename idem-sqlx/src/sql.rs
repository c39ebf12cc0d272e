//! The statements that are the same in all databases, with their parameters bound.

use std::{collections::HashSet, marker::PhantomData, time::Duration};

use idem_core::{
    Begin, Claim, Fence, Fingerprint, Owner, RECORD_VERSION, RecordId, Recorded, Recover,
    StoredResponse,
};
use sqlx::FromRow;

use crate::{
    dialect::Dialect,
    row::{COMPLETED, ClaimRow, FAILED, HELD, HeldRow, Hit, IN_FLIGHT, RecordRow},
    statement::{Binds, Query, Statement, Value},
};

/// Those of the ids that are not among the rows of [`Dialect::in_flight`].
pub(crate) fn others(ids: &[RecordId], in_flight: &[(Vec<u8>,)]) -> Vec<RecordId> {
    let in_flight: HashSet<&[u8]> = in_flight.iter().map(|(id,)| &id[..]).collect();
    ids.iter().filter(|id| !in_flight.contains(&id.digest()[..])).cloned().collect()
}

/// Ids as an array in JSON, for databases without arrays.
#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub(crate) fn hexadecimal(ids: &[RecordId]) -> String {
    use std::fmt::Write;

    let mut json = String::with_capacity(2 + 67 * ids.len());
    for id in ids {
        json.push_str(if json.is_empty() { "[\"" } else { "\",\"" });
        for byte in id.digest() {
            // Writing to a string does not fail.
            let _ = write!(json, "{byte:02X}");
        }
    }
    json.push_str(if ids.is_empty() { "[]" } else { "\"]" });
    json
}

/// What a transaction knows of the record that it is going to write.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) owner: Owner,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) fence: i64,
    pub(crate) number: i32,
}

/// The answer that goes into a record.
pub(crate) struct Answer {
    response: StoredResponse,
    header_lines: Vec<u8>,
    ttl: Duration,
}

impl From<Recorded<'_>> for Answer {
    fn from(Recorded { response, ttl }: Recorded<'_>) -> Self {
        Self { response: response.clone(), header_lines: response.header_lines(), ttl }
    }
}

#[cfg(feature = "mysql")]
impl Answer {
    pub(crate) fn response(&self) -> &StoredResponse {
        &self.response
    }

    /// The same with another response.
    pub(crate) fn with(&self, response: StoredResponse) -> Self {
        Self { header_lines: response.header_lines(), response, ttl: self.ttl }
    }
}

/// The statements that are the same in all databases, with their parameters bound.
#[derive(Debug)]
pub(crate) struct Statements<DB> {
    pub(crate) complete: Statement,
    fail: Statement,
    hold: Statement,
    ended: Statement,
    renew: Statement,
    release: Statement,
    pub(crate) get: Statement,
    pub(crate) held: Statement,
    resolve_completed: Statement,
    resolve_failed: Statement,
    database: PhantomData<fn() -> DB>,
}

impl<DB> Statements<DB>
where
    DB: Binds,
    for<'r> ClaimRow: FromRow<'r, DB::Row>,
    for<'r> RecordRow: FromRow<'r, DB::Row>,
    for<'r> HeldRow: FromRow<'r, DB::Row>,
    for<'r> Hit: FromRow<'r, DB::Row>,
{
    pub(crate) fn new(dialect: &Dialect) -> Self {
        let Dialect {
            now, clock, never, never_expires, greatest, smallint, key, table, hit, ..
        } = dialect;
        let mine = format!("WHERE id = $1 AND attempt = $2 AND version = {RECORD_VERSION}");
        let update = |set: String, which: String| {
            dialect.statement(format!("UPDATE {table} SET {set} {mine} AND {which}{hit}"))
        };
        let end = |set: String| update(set, format!("state = {IN_FLIGHT}"));
        let in_future = |parameter| dialect.in_future(parameter);
        let (held, held_for) = (dialect.held(), (dialect.since)("lease_until"));
        let resolve = |set: String| update(format!("attempt = $3, {set}"), held.clone());
        Self {
            complete: end(format!(
                "state = {COMPLETED}, status = $3, headers = $4, body = $5, expires_at = {}",
                in_future("$6")
            )),
            fail: end(format!("state = {FAILED}, expires_at = {}", in_future("$3"))),
            // So that it is known since when the record has been held.
            hold: end(format!("state = {HELD}, lease_until = {clock}, expires_at = {never}")),
            ended: dialect.statement(format!("SELECT 1 FROM {table} {mine} AND state = $3")),
            renew: end(format!(
                "lease_until = {lease}, expires_at = {greatest}(expires_at, {lease})",
                lease = in_future("$3")
            )),
            release: dialect
                .statement(format!("DELETE FROM {table} {mine} AND state = {IN_FLIGHT}{hit}")),
            get: dialect.statement(format!(
                "SELECT version, fingerprint,
                    CASE WHEN state = {IN_FLIGHT} AND hold AND lease_until <= {now}
                        THEN CAST({HELD} AS {smallint}) ELSE state END,
                    attempt, fence, number, status, headers, body
                FROM {table}
                WHERE id = $1
                    AND (version = {RECORD_VERSION} AND expires_at <= {now}) IS NOT TRUE"
            )),
            held: dialect.statement(format!(
                "SELECT id, operation, scope, {key}, attempt, fence, number, {held_for}
                FROM {table}
                WHERE {never_expires} AND version = {RECORD_VERSION} AND {held} AND fence > $1
                ORDER BY fence LIMIT $2"
            )),
            resolve_completed: resolve(format!(
                "state = {COMPLETED}, status = $4, headers = $5, body = $6, expires_at = {}",
                in_future("$7")
            )),
            resolve_failed: resolve(format!("state = {FAILED}, expires_at = {}", in_future("$4"))),
            database: PhantomData,
        }
    }

    /// The same, with those that only read as a database wants them.
    #[cfg(feature = "postgres")]
    pub(crate) fn reading_by(self, reading: impl Fn(Statement) -> Statement) -> Self {
        let [ended, get, held] = [self.ended, self.get, self.held].map(reading);
        Self { ended, get, held, ..self }
    }

    /// Binds a claim to the parameters of [`Dialect::look`] and [`Dialect::win`].
    pub(crate) fn claim<'q, T>(statement: &Statement, claim: &'q Claim) -> Query<'q, DB, T>
    where
        T: for<'r> FromRow<'r, DB::Row>,
    {
        let Claim { owner, fingerprint, recover, lease, ttl } = claim;
        let [id, attempt, fingerprint] = asked(owner, fingerprint);
        let [operation, scope, key] = named(&owner.id);
        let hold = Value::Flag(*recover == Recover::Hold);
        let times = [*lease, *(ttl.max(lease))].map(|it| Value::Big(milliseconds(it)));
        let [lease, ttl] = times;
        statement.query(&[id, attempt, fingerprint, operation, scope, key, hold, lease, ttl])
    }

    /// Binds what begins an execution to the first parameters of [`Dialect::look`] and
    /// [`Dialect::decide`].
    pub(crate) fn begin<'q, T>(statement: &Statement, begin: &'q Begin) -> Query<'q, DB, T>
    where
        T: for<'r> FromRow<'r, DB::Row>,
    {
        statement.query(&asked(&begin.owner, &begin.fingerprint))
    }

    /// Binds a record to the parameters of [`Dialect::record`].
    pub(crate) fn record<'q, T>(
        statement: &Statement,
        pending: &'q Pending,
        answer: &'q Answer,
    ) -> Query<'q, DB, T>
    where
        T: for<'r> FromRow<'r, DB::Row>,
    {
        let Pending { owner, fingerprint, fence, number } = pending;
        let [id, attempt, fingerprint] = asked(owner, fingerprint);
        let [operation, scope, key] = named(&owner.id);
        let [status, headers, body] = answered(&answer.response, &answer.header_lines);
        let (fence, number) = (Value::Big(*fence), Value::Number(*number));
        let ttl = Value::Big(milliseconds(answer.ttl));
        statement.query(&[
            id,
            attempt,
            fingerprint,
            operation,
            scope,
            key,
            fence,
            number,
            status,
            headers,
            body,
            ttl,
        ])
    }

    pub(crate) fn complete<'q>(
        &self,
        owner: &'q Owner,
        response: &'q StoredResponse,
        header_lines: &'q [u8],
        ttl: Duration,
    ) -> Query<'q, DB, Hit> {
        let [id, attempt] = own(owner);
        let [status, headers, body] = answered(response, header_lines);
        let ttl = Value::Big(milliseconds(ttl));
        self.complete.query(&[id, attempt, status, headers, body, ttl])
    }

    pub(crate) fn fail<'q>(&self, owner: &'q Owner, ttl: Duration) -> Query<'q, DB, Hit> {
        let [id, attempt] = own(owner);
        self.fail.query(&[id, attempt, Value::Big(milliseconds(ttl))])
    }

    pub(crate) fn hold<'q>(&self, owner: &'q Owner) -> Query<'q, DB, Hit> {
        self.hold.query(&own(owner))
    }

    /// Looks whether the owner itself brought the record into a state before.
    pub(crate) fn ended<'q>(&self, owner: &'q Owner, state: i16) -> Query<'q, DB, Hit> {
        let [id, attempt] = own(owner);
        self.ended.query(&[id, attempt, Value::Small(state)])
    }

    pub(crate) fn renew<'q>(&self, owner: &'q Owner, lease: Duration) -> Query<'q, DB, Hit> {
        let [id, attempt] = own(owner);
        self.renew.query(&[id, attempt, Value::Big(milliseconds(lease))])
    }

    pub(crate) fn release<'q>(&self, owner: &'q Owner) -> Query<'q, DB, Hit> {
        self.release.query(&own(owner))
    }

    pub(crate) fn get<'q>(&self, id: &'q RecordId) -> Query<'q, DB, RecordRow> {
        self.get.query(&[Value::Bytes(id.digest())])
    }

    pub(crate) fn held<'q>(&self, after: Option<Fence>, limit: u32) -> Query<'q, DB, HeldRow> {
        let after = after.map_or(i64::MIN, Fence::get);
        self.held.query(&[after, i64::from(limit)].map(Value::Big))
    }

    /// `resolved` is the owner after the resolution.
    pub(crate) fn resolve_completed<'q>(
        &self,
        owner: &'q Owner,
        resolved: &Owner,
        response: &'q StoredResponse,
        header_lines: &'q [u8],
        ttl: Duration,
    ) -> Query<'q, DB, Hit> {
        let [id, attempt] = own(owner);
        let resolved = Value::Uuid(resolved.attempt.as_uuid());
        let [status, headers, body] = answered(response, header_lines);
        let ttl = Value::Big(milliseconds(ttl));
        self.resolve_completed.query(&[id, attempt, resolved, status, headers, body, ttl])
    }

    /// `resolved` is the owner after the resolution.
    pub(crate) fn resolve_failed<'q>(
        &self,
        owner: &'q Owner,
        resolved: &Owner,
        ttl: Duration,
    ) -> Query<'q, DB, Hit> {
        let [id, attempt] = own(owner);
        let resolved = Value::Uuid(resolved.attempt.as_uuid());
        self.resolve_failed.query(&[id, attempt, resolved, Value::Big(milliseconds(ttl))])
    }
}

pub(crate) fn own(owner: &Owner) -> [Value<'_>; 2] {
    [Value::Bytes(owner.id.digest()), Value::Uuid(owner.attempt.as_uuid())]
}

pub(crate) fn asked<'q>(owner: &'q Owner, fingerprint: &'q Fingerprint) -> [Value<'q>; 3] {
    let [id, attempt] = own(owner);
    [id, attempt, Value::Bytes(fingerprint.as_bytes())]
}

/// What is there for people to read.
pub(crate) fn named(id: &RecordId) -> [Value<'_>; 3] {
    [id.operation(), id.scope(), id.key()].map(Value::Text)
}

fn answered<'q>(response: &'q StoredResponse, header_lines: &'q [u8]) -> [Value<'q>; 3] {
    let status = Value::Small(response.status.as_u16().cast_signed());
    [status, Value::Bytes(header_lines), Value::MaybeBytes(response.body.as_deref())]
}

/// Rounded up, so that nothing ends early, and bounded to a thousand years, which is the same as
/// forever and overflows nowhere.
pub(crate) fn milliseconds(time: Duration) -> i64 {
    const MAX: i64 = 1000 * 365 * 24 * 60 * 60 * 1000;
    let rounded_up = time.saturating_add(Duration::from_nanos(999_999)).as_millis();
    i64::try_from(rounded_up).map_or(MAX, |it| it.min(MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up_and_bounded() {
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(milliseconds(Duration::from_millis(5)), 5);
        assert_eq!(milliseconds(Duration::MAX), milliseconds(Duration::from_hours(10_000_000)));
    }
}
