//! The statements that are the same in both databases, with their parameters bound.

use std::{collections::HashSet, marker::PhantomData, time::Duration};

use idem_core::{
    Begin, Claim, Fence, Fingerprint, Owner, RECORD_VERSION, RecordId, Recorded, Recover,
    StoredResponse,
};
use sqlx::{Database, Encode, FromRow, IntoArguments, SqlStr, Type, query::QueryAs};
use uuid::Uuid;

use crate::{
    dialect::{Dialect, trusted},
    row::{COMPLETED, ClaimRow, FAILED, HELD, HeldRow, Hit, IN_FLIGHT, RecordRow},
};

/// Those of the ids that are not among the rows of [`Dialect::in_flight`].
pub(crate) fn others(ids: &[RecordId], in_flight: &[(Vec<u8>,)]) -> Vec<RecordId> {
    let in_flight: HashSet<&[u8]> = in_flight.iter().map(|(id,)| &id[..]).collect();
    ids.iter().filter(|id| !in_flight.contains(&id.digest()[..])).cloned().collect()
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

/// The statements that are the same in both databases, with their parameters bound.
#[derive(Debug)]
pub(crate) struct Statements<DB> {
    pub(crate) complete: SqlStr,
    fail: SqlStr,
    hold: SqlStr,
    ended: SqlStr,
    renew: SqlStr,
    release: SqlStr,
    pub(crate) get: SqlStr,
    pub(crate) held: SqlStr,
    resolve_completed: SqlStr,
    resolve_failed: SqlStr,
    database: PhantomData<fn() -> DB>,
}

/// A statement that is ready to run, for rows of type `T`.
pub(crate) type Query<'q, DB, T> = QueryAs<'q, DB, T, <DB as Database>::Arguments>;

impl<DB> Statements<DB>
where
    DB: Database<Arguments: IntoArguments<DB>>,
    for<'q> &'q [u8]: Encode<'q, DB> + Type<DB>,
    for<'q> Option<&'q [u8]>: Encode<'q, DB> + Type<DB>,
    for<'q> &'q str: Encode<'q, DB> + Type<DB>,
    for<'q> Uuid: Encode<'q, DB> + Type<DB>,
    for<'q> bool: Encode<'q, DB> + Type<DB>,
    for<'q> i16: Encode<'q, DB> + Type<DB>,
    for<'q> i64: Encode<'q, DB> + Type<DB>,
    for<'r> ClaimRow: FromRow<'r, DB::Row>,
    for<'r> RecordRow: FromRow<'r, DB::Row>,
    for<'r> HeldRow: FromRow<'r, DB::Row>,
    for<'r> Hit: FromRow<'r, DB::Row>,
{
    pub(crate) fn new(dialect: &Dialect) -> Self {
        let Dialect { now, clock, never, never_expires, greatest, table, .. } = dialect;
        let mine = format!("WHERE id = $1 AND attempt = $2 AND version = {RECORD_VERSION}");
        let end = |set: String| {
            trusted(format!("UPDATE {table} SET {set} {mine} AND state = {IN_FLIGHT} RETURNING 1"))
        };
        let in_future = |parameter| dialect.in_future(parameter);
        let (held, held_for) = (dialect.held(), (dialect.since)("lease_until"));
        let resolve = |set: String| {
            trusted(format!("UPDATE {table} SET attempt = $3, {set} {mine} AND {held} RETURNING 1"))
        };
        Self {
            complete: end(format!(
                "state = {COMPLETED}, status = $3, headers = $4, body = $5, expires_at = {}",
                in_future("$6")
            )),
            fail: end(format!("state = {FAILED}, expires_at = {}", in_future("$3"))),
            // So that it is known since when the record has been held.
            hold: end(format!("state = {HELD}, lease_until = {clock}, expires_at = {never}")),
            ended: trusted(format!("SELECT 1 FROM {table} {mine} AND state = $3")),
            renew: end(format!(
                "lease_until = {lease}, expires_at = {greatest}(expires_at, {lease})",
                lease = in_future("$3")
            )),
            release: trusted(format!(
                "DELETE FROM {table} {mine} AND state = {IN_FLIGHT} RETURNING 1"
            )),
            get: trusted(format!(
                "SELECT version, fingerprint,
                    CASE WHEN state = {IN_FLIGHT} AND hold AND lease_until <= {now}
                        THEN CAST({HELD} AS smallint) ELSE state END,
                    attempt, fence, number, status, headers, body
                FROM {table}
                WHERE id = $1
                    AND (version = {RECORD_VERSION} AND expires_at <= {now}) IS NOT TRUE"
            )),
            held: trusted(format!(
                "SELECT id, operation, scope, key, attempt, fence, number, {held_for}
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
    pub(crate) fn reading_by(self, reading: impl Fn(SqlStr) -> SqlStr) -> Self {
        let [ended, get, held] = [self.ended, self.get, self.held].map(reading);
        Self { ended, get, held, ..self }
    }

    /// Binds a claim to the parameters of [`Dialect::look`] and [`Dialect::win`].
    pub(crate) fn claim<'q, T>(sql: &SqlStr, claim: &'q Claim) -> Query<'q, DB, T>
    where
        T: for<'r> FromRow<'r, DB::Row>,
    {
        let Claim { owner, fingerprint, .. } = claim;
        Self::named(Self::asked(sql, owner, fingerprint), &owner.id)
            .bind(claim.recover == Recover::Hold)
            .bind(milliseconds(claim.lease))
            .bind(milliseconds(claim.ttl.max(claim.lease)))
    }

    /// Binds what begins an execution to the first parameters of [`Dialect::look`] and
    /// [`Dialect::decide`].
    pub(crate) fn begin<'q, T>(sql: &SqlStr, begin: &'q Begin) -> Query<'q, DB, T>
    where
        T: for<'r> FromRow<'r, DB::Row>,
    {
        Self::asked(sql, &begin.owner, &begin.fingerprint)
    }

    fn asked<'q, T>(
        sql: &SqlStr,
        owner: &'q Owner,
        fingerprint: &'q Fingerprint,
    ) -> Query<'q, DB, T>
    where
        T: for<'r> FromRow<'r, DB::Row>,
    {
        own(sql, owner).bind(&fingerprint.as_bytes()[..])
    }

    /// What is there for people to read.
    fn named<'q, T>(query: Query<'q, DB, T>, id: &'q RecordId) -> Query<'q, DB, T> {
        query.bind(id.operation()).bind(id.scope()).bind(id.key())
    }

    /// Binds a record to the parameters of [`Dialect::record`].
    pub(crate) fn record<'q, T>(
        sql: &SqlStr,
        pending: &'q Pending,
        answer: &'q Answer,
    ) -> Query<'q, DB, T>
    where
        i32: Encode<'q, DB> + Type<DB>,
        T: for<'r> FromRow<'r, DB::Row>,
    {
        let Pending { owner, fingerprint, .. } = pending;
        Self::named(Self::asked(sql, owner, fingerprint), &owner.id)
            .bind(pending.fence)
            .bind(pending.number)
            .bind(answer.response.status.as_u16().cast_signed())
            .bind(&answer.header_lines[..])
            .bind(answer.response.body.as_deref())
            .bind(milliseconds(answer.ttl))
    }

    pub(crate) fn complete<'q>(
        &self,
        owner: &'q Owner,
        response: &'q StoredResponse,
        header_lines: &'q [u8],
        ttl: Duration,
    ) -> Query<'q, DB, Hit> {
        own(&self.complete, owner)
            .bind(response.status.as_u16().cast_signed())
            .bind(header_lines)
            .bind(response.body.as_deref())
            .bind(milliseconds(ttl))
    }

    pub(crate) fn fail<'q>(&self, owner: &'q Owner, ttl: Duration) -> Query<'q, DB, Hit> {
        own(&self.fail, owner).bind(milliseconds(ttl))
    }

    pub(crate) fn hold<'q>(&self, owner: &'q Owner) -> Query<'q, DB, Hit> {
        own(&self.hold, owner)
    }

    /// Looks whether the owner itself brought the record into a state before.
    pub(crate) fn ended<'q>(&self, owner: &'q Owner, state: i16) -> Query<'q, DB, Hit> {
        own(&self.ended, owner).bind(state)
    }

    pub(crate) fn renew<'q>(&self, owner: &'q Owner, lease: Duration) -> Query<'q, DB, Hit> {
        own(&self.renew, owner).bind(milliseconds(lease))
    }

    pub(crate) fn release<'q>(&self, owner: &'q Owner) -> Query<'q, DB, Hit> {
        own(&self.release, owner)
    }

    pub(crate) fn get<'q>(&self, id: &'q RecordId) -> Query<'q, DB, RecordRow> {
        sqlx::query_as(self.get.clone()).bind(&id.digest()[..])
    }

    pub(crate) fn held<'q>(&self, after: Option<Fence>, limit: u32) -> Query<'q, DB, HeldRow> {
        sqlx::query_as(self.held.clone())
            .bind(after.map_or(i64::MIN, Fence::get))
            .bind(i64::from(limit))
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
        own(&self.resolve_completed, owner)
            .bind(resolved.attempt.as_uuid())
            .bind(response.status.as_u16().cast_signed())
            .bind(header_lines)
            .bind(response.body.as_deref())
            .bind(milliseconds(ttl))
    }

    /// `resolved` is the owner after the resolution.
    pub(crate) fn resolve_failed<'q>(
        &self,
        owner: &'q Owner,
        resolved: &Owner,
        ttl: Duration,
    ) -> Query<'q, DB, Hit> {
        own(&self.resolve_failed, owner).bind(resolved.attempt.as_uuid()).bind(milliseconds(ttl))
    }
}

fn own<'q, DB, T>(sql: &SqlStr, owner: &'q Owner) -> Query<'q, DB, T>
where
    DB: Database,
    T: for<'r> FromRow<'r, DB::Row>,
    &'q [u8]: Encode<'q, DB> + Type<DB>,
    Uuid: Encode<'q, DB> + Type<DB>,
{
    sqlx::query_as(sql.clone()).bind(&owner.id.digest()[..]).bind(owner.attempt.as_uuid())
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
