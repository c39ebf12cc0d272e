//! The text of the statements, as far as databases agree. Parameters are written `$n`.

use std::sync::Arc;

use idem_core::RECORD_VERSION;
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::{
    row::{COMPLETED, FAILED, HELD, IN_FLIGHT},
    statement::{Parameters, Statement},
};

/// The verdicts on a row that may be won.
pub(crate) const FREE: &str = "('expired', 'failed', 'lapsed')";

/// What one database writes differently.
#[derive(Clone)]
pub(crate) struct Dialect {
    /// The time when the statement began: judging by it takes no lease for lapsed that was renewed
    /// while the statement waited.
    pub(crate) now: &'static str,
    /// The time now, from which leases and lives are counted.
    pub(crate) clock: &'static str,
    /// An expiry that never comes.
    pub(crate) never: &'static str,
    /// Whether a row never expires, in a form that finds it by the index.
    pub(crate) never_expires: &'static str,
    /// How many milliseconds ago the time in a column was.
    pub(crate) since: fn(&str) -> String,
    /// As many milliseconds as a parameter says, to add to a time.
    pub(crate) milliseconds: fn(&str) -> String,
    /// The function that finds the greatest of its arguments.
    pub(crate) greatest: &'static str,
    /// The type of small numbers, to cast to.
    pub(crate) smallint: &'static str,
    /// The column `key`, as a name.
    pub(crate) key: &'static str,
    /// What a write answers for each row that it hit, if it can.
    pub(crate) hit: &'static str,
    /// How parameters are written.
    pub(crate) parameters: Parameters,
    /// The records' table, quoted.
    pub(crate) table: String,
    /// The next fence.
    pub(crate) fence: String,
}

impl Dialect {
    /// A statement of this text.
    pub(crate) fn statement(&self, text: String) -> Statement {
        Statement::new(text, self.parameters)
    }

    pub(crate) fn in_future(&self, parameter: &str) -> String {
        format!("{} + {}", self.clock, (self.milliseconds)(parameter))
    }

    /// How many milliseconds ago a row came to be.
    pub(crate) fn age(&self) -> String {
        (self.since)("created_at")
    }

    /// In how many milliseconds a row expires; null if it never does.
    fn expires_in(&self) -> String {
        let (never, since) = (self.never_expires, (self.since)("expires_at"));
        format!("CASE WHEN {never} THEN NULL ELSE -({since}) END")
    }

    /// When the row `r` came to be, that is about to be won.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    fn created_at(&self) -> String {
        let now = self.now;
        format!("CASE WHEN r.expires_at <= {now} THEN excluded.created_at ELSE r.created_at END")
    }

    /// The verdict on the row `r`: the table at [`Store::claim`](idem_core::Store::claim).
    pub(crate) fn verdict(&self) -> String {
        let now = self.now;
        format!(
            "CASE
                WHEN r.version <> {RECORD_VERSION} THEN 'version'
                WHEN r.attempt = $2 AND r.state = {IN_FLIGHT} THEN 'won'
                WHEN r.expires_at <= {now} THEN 'expired'
                WHEN r.fingerprint <> $3 THEN 'mismatch'
                WHEN r.state = {COMPLETED} THEN 'completed'
                WHEN r.state = {FAILED} AND r.attempt = $2 THEN 'in flight'
                WHEN r.state = {FAILED} THEN 'failed'
                WHEN r.state = {HELD} THEN 'held'
                WHEN r.state <> {IN_FLIGHT} THEN 'damaged'
                WHEN r.lease_until > {now} THEN 'in flight'
                WHEN r.hold THEN 'held'
                ELSE 'lapsed'
            END"
        )
    }

    /// Whether a row of our version is held. All such rows never expire.
    pub(crate) fn held(&self) -> String {
        let now = self.now;
        format!("(state = {HELD} OR (state = {IN_FLIGHT} AND hold AND lease_until <= {now}))")
    }

    /// Reads the record and its verdict. Nothing of a row that is not to be replayed is fetched
    /// from where large values are.
    pub(crate) fn look(&self) -> String {
        let (table, verdict, age) = (&self.table, self.verdict(), self.age());
        let expires_in = self.expires_in();
        format!(
            "SELECT verdict, version, fence, number, status,
                CASE verdict WHEN 'completed' THEN headers END AS headers,
                CASE verdict WHEN 'completed' THEN body END AS body,
                takeover, {age} AS age, {expires_in} AS expires_in
            FROM (SELECT r.*, {verdict} AS verdict FROM {table} AS r WHERE id = $1) AS judged"
        )
    }

    /// Writes the claim if `condition` holds, and if the row that is there by then may be won.
    /// Fence and times of a row that is taken over are drawn under that row's lock, because the
    /// statement may have waited for it: so the fence is higher than those of all who had the row
    /// before, and the lease is whole.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn win(&self, condition: &str) -> String {
        let Self { now, never, table, fence, .. } = self;
        let (verdict, age, created_at) = (self.verdict(), self.age(), self.created_at());
        let expires_in = self.expires_in();
        let lease = self.in_future("$8");
        let expiry = format!("CASE WHEN $7 THEN {never} ELSE {} END", self.in_future("$9"));
        format!(
            "INSERT INTO {table} AS r (
                id, operation, scope, key, version, fingerprint, state, hold, attempt, fence,
                number, takeover, created_at, lease_until, expires_at
            )
            SELECT
                $1, $4, $5, $6, {RECORD_VERSION}, $3, {IN_FLIGHT}, $7, $2, {fence},
                1, false, {now}, {lease}, {expiry}
            WHERE {condition}
            ON CONFLICT (id) DO UPDATE SET
                fingerprint = excluded.fingerprint,
                state = excluded.state,
                hold = excluded.hold,
                attempt = excluded.attempt,
                fence = {fence},
                number = CASE WHEN r.expires_at <= {now} THEN 1 ELSE r.number + 1 END,
                takeover = {verdict} = 'lapsed',
                created_at = {created_at},
                lease_until = {lease},
                expires_at = {expiry},
                status = NULL,
                headers = NULL,
                body = NULL
            WHERE {verdict} IN {FREE}
            RETURNING 'won' AS verdict, version, fence, number, status, headers, body, takeover,
                {age} AS age, {expires_in} AS expires_in"
        )
    }

    /// Reads the record inside of a transaction that is to be its execution, and decides.
    /// `locked` is a select whose column `got` says whether nobody else is at it.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn decide(&self, locked: &str) -> String {
        let (look, fence, smallint) = (self.look(), &self.fence, self.smallint);
        format!(
            "WITH locked AS MATERIALIZED ({locked})
            SELECT verdict, version, CASE verdict WHEN 'won' THEN {fence} ELSE 0 END AS fence,
                number, status, headers, body, takeover, age, expires_in
            FROM (
                SELECT
                    CASE
                        WHEN judged.verdict NOT IN {FREE} THEN judged.verdict
                        WHEN got THEN 'won'
                        ELSE 'in flight'
                    END AS verdict,
                    coalesce(version, CAST({RECORD_VERSION} AS {smallint})) AS version,
                    CASE WHEN judged.verdict IN ('failed', 'lapsed') THEN number + 1 ELSE 1 END
                        AS number,
                    status, headers, body,
                    CASE judged.verdict WHEN 'lapsed' THEN true ELSE false END AS takeover,
                    CASE judged.verdict WHEN 'expired' THEN NULL ELSE age END AS age,
                    expires_in
                FROM locked LEFT JOIN ({look}) AS judged ON true
            ) AS decided"
        )
    }

    /// Writes the record of an execution that ran in a transaction, if `condition` holds, and if
    /// nobody has completed or claimed the record since its fence was drawn. This decides between
    /// executions; all that came before only spares the effort.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn record(&self, condition: &str) -> String {
        let Self { now, table, .. } = self;
        let (verdict, created_at) = (self.verdict(), self.created_at());
        let expiry = self.in_future("$12");
        format!(
            "INSERT INTO {table} AS r (
                id, operation, scope, key, version, fingerprint, state, hold, attempt, fence,
                number, takeover, created_at, lease_until, expires_at, status, headers, body
            )
            SELECT
                $1, $4, $5, $6, {RECORD_VERSION}, $3, {COMPLETED}, false, $2, $7,
                $8, false, {now}, {now}, {expiry}, $9, $10, $11
            WHERE {condition}
            ON CONFLICT (id) DO UPDATE SET
                fingerprint = excluded.fingerprint,
                state = excluded.state,
                hold = excluded.hold,
                attempt = excluded.attempt,
                fence = excluded.fence,
                number = excluded.number,
                takeover = {verdict} = 'lapsed',
                created_at = {created_at},
                lease_until = excluded.lease_until,
                expires_at = excluded.expires_at,
                status = excluded.status,
                headers = excluded.headers,
                body = excluded.body
            WHERE {verdict} IN {FREE} AND r.fence < excluded.fence
            RETURNING 1"
        )
    }

    /// Which of some records are in flight; `among` compares their ids with a parameter. What is in
    /// flight has not expired.
    pub(crate) fn in_flight(&self, among: &str) -> Statement {
        let Self { now, table, .. } = self;
        self.statement(format!(
            "SELECT id FROM {table}
            WHERE {among} AND version = {RECORD_VERSION} AND state = {IN_FLIGHT}
                AND lease_until > {now}"
        ))
    }
}

/// Declares that a statement was built of nothing but our own text and checked names.
pub(crate) fn trusted(sql: String) -> SqlStr {
    AssertSqlSafe(Arc::<str>::from(sql)).into_sql_str()
}
