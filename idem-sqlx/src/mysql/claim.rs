//! Claims: look, and write only where there is something to win.

use std::time::Duration;

use idem_core::{Claim, Claimed, Judged, StoreError};
use sqlx::MySql;
use tokio::time::{Instant, sleep};

use super::{
    MySqlStore,
    server::{is_conflict, number, numbers},
};
use crate::{
    connections::{Failure, fetch},
    dialect::{Dialect, FREE},
    row::{ClaimRow, Hit, IN_FLIGHT, judged},
    sql::Statements,
    statement::Statement,
};

/// The statements of a claim.
pub(super) struct Claims {
    pub(super) look: Statement,
    insert: Statement,
    take: Statement,
}

impl Claims {
    pub(super) fn new(dialect: &Dialect) -> Self {
        Self {
            look: dialect.statement(dialect.look()),
            insert: insert(dialect),
            take: take(dialect),
        }
    }
}

/// Wins a record that is absent. It fails if one is there by then.
fn insert(dialect: &Dialect) -> Statement {
    let Dialect { now, never, table, fence, key, .. } = dialect;
    let (age, lease, ttl) = (dialect.age(), dialect.in_future("$8"), dialect.in_future("$9"));
    dialect.statement(format!(
        "INSERT INTO {table} (
            id, operation, scope, {key}, version, fingerprint, state, hold, attempt, fence,
            number, takeover, created_at, lease_until, expires_at
        )
        VALUES (
            $1, $4, $5, $6, {version}, $3, {IN_FLIGHT}, $7, $2, {fence},
            1, false, {now}, {lease}, CASE WHEN $7 THEN {never} ELSE {ttl} END
        )
        RETURNING 'won' AS verdict, version, fence, number, status, headers, body, takeover,
            {age} AS age, NULL AS expires_in",
        version = idem_core::RECORD_VERSION
    ))
}

/// Wins a record that is there, if it may still be won under its row's lock; whoever looks next sees
/// who has. Columns are set from left to right, and what is set is seen by what comes after it: so
/// those come first that depend on what was.
fn take(dialect: &Dialect) -> Statement {
    let Dialect { now, never, table, fence, .. } = dialect;
    let (verdict, lease, ttl) =
        (dialect.verdict(), dialect.in_future("$8"), dialect.in_future("$9"));
    dialect.statement(format!(
        "UPDATE {table} AS r SET
            r.takeover = ({verdict} = 'lapsed'),
            r.number = CASE WHEN r.expires_at <= {now} THEN 1 ELSE r.number + 1 END,
            r.created_at = CASE WHEN r.expires_at <= {now} THEN {now} ELSE r.created_at END,
            r.fingerprint = $3,
            r.state = {IN_FLIGHT},
            r.hold = $7,
            r.attempt = $2,
            r.fence = {fence},
            r.lease_until = {lease},
            r.expires_at = CASE WHEN $7 THEN {never} ELSE {ttl} END,
            r.status = NULL,
            r.headers = NULL,
            r.body = NULL
        WHERE r.id = $1 AND {verdict} IN {FREE}"
    ))
}

pub(super) async fn claim(store: &MySqlStore, claim: &Claim) -> Result<Judged, StoreError> {
    let begun = Instant::now();
    // Others that claim without a transaction are done by then.
    let patience = (store.statement_timeout / 2).min(Duration::from_secs(1));
    let mut pause = Duration::from_millis(1);
    let mut tries = 0;
    loop {
        tries += 1;
        let look = || Statements::claim(&store.claims.look, claim);
        let seen: Option<ClaimRow> = store.main.fetch(look).await?.pop();
        let wrote = match seen {
            None => insert_row(store, claim).await,
            Some(row) => match judged(row)? {
                Some(judged) => return Ok(judged),
                None => take_row(store, claim).await,
            },
        };
        match wrote {
            Ok(Some(row)) => {
                if let Some(won) = judged(row)? {
                    return Ok(won);
                }
            }
            // The next look tells.
            Ok(None) if begun.elapsed() < store.statement_timeout => continue,
            Ok(None) => {}
            Err(failure) => match number(&failure.error) {
                Some(numbers::LOCKED) if begun.elapsed() >= patience => {
                    // By an execution in a transaction, whose record is not to be seen yet.
                    return Ok(Judged::new(Claimed::InFlight, None));
                }
                Some(numbers::DUPLICATE) => {}
                Some(number) if is_conflict(number) => {}
                _ => return Err(failure.into()),
            },
        }
        if begun.elapsed() >= store.statement_timeout {
            return Err(StoreError::Contended(tries));
        }
        sleep(pause).await;
        pause = (2 * pause).min(Duration::from_millis(20));
    }
}

async fn insert_row(store: &MySqlStore, claim: &Claim) -> Result<Option<ClaimRow>, Failure> {
    let insert =
        |connection| fetch::<MySql, _>(connection, Statements::claim(&store.claims.insert, claim));
    store.main.on_working_connection(insert).await.map(|mut rows: Vec<ClaimRow>| rows.pop())
}

async fn take_row(store: &MySqlStore, claim: &Claim) -> Result<Option<ClaimRow>, Failure> {
    let take = |connection| {
        crate::connections::write::<MySql>(connection, Statements::claim(&store.claims.take, claim))
    };
    store.main.on_working_connection(take).await.map(|_: Vec<Hit>| None)
}
