//! Executions that commit together with their records.

mod ending;
mod session;

use idem_core::{
    Begin, Begun, Claimed, Judged, OpenTransaction, RECORD_VERSION, StoreError, TransactionSettings,
};
use sqlx::{MySql, pool::PoolConnection};
use tokio::time::{Duration, Instant, sleep};
use uuid::Uuid;

use self::{ending::Ending, session::Session};
use super::{
    MySqlStore,
    server::{is_conflict, number, numbers, seconds},
};
use crate::{
    dialect::{Dialect, FREE},
    execution::{Open, decided, on_working_connection},
    row::{COMPLETED, ClaimRow, FAILED, judged},
    sql::{Statements, asked, named},
    statement::{Statement, Value},
    tx::Owned,
};

/// The statements of an execution.
pub(super) struct Executions {
    insert: Statement,
    take: Statement,
    record: Statement,
    record_new: Statement,
    record_over: Statement,
    probe: Statement,
    forget: Statement,
    is_taken: Statement,
}

impl Executions {
    pub(super) fn new(dialect: &Dialect, timeout: Duration) -> Self {
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

/// Looks on a connection of ours first, so that a replay begins no transaction.
pub(super) async fn begin(store: &MySqlStore, begin: &Begin) -> Result<Begun, StoreError> {
    let deadline = Instant::now() + store.statement_timeout;
    let mut tries = 0;
    loop {
        tries += 1;
        let look = || Statements::begin(&store.claims.look, begin);
        let rows: Vec<ClaimRow> = store.main.fetch(look).await?;
        let seen = rows.into_iter().next();
        let free = seen.as_ref().map(Seen::of);
        if let Some(refused) = seen.map(judged).transpose()?.flatten() {
            return Ok(Begun::Refused(refused));
        }
        let taking = |connection| take_up(store.clone(), connection, begin.clone(), free.clone());
        match on_working_connection(&store.transactions, taking).await? {
            Taken::Won { transaction, fence } => {
                let place = if free.is_none() { Place::Inserted } else { Place::Updated };
                let (number, takeover, age) = match &free {
                    None => (1, false, None),
                    Some(seen) => (seen.next_number(), seen.is_takeover(), seen.age()),
                };
                let row = (
                    "won".to_owned(),
                    RECORD_VERSION,
                    fence,
                    number,
                    None,
                    None,
                    None,
                    takeover,
                    age,
                    None,
                );
                let session = Session::of(begin.owner.attempt.as_uuid(), begin.settings);
                let store = store.clone();
                let close = |pending| Ending::of_record(session, pending, place, store);
                return decided(begin, row, Some(transaction), close);
            }
            Taken::Locked => {
                return Ok(Begun::Refused(Judged::new(Claimed::InFlight, None)));
            }
            Taken::Changed if Instant::now() < deadline => sleep(Duration::from_millis(2)).await,
            Taken::Changed => return Err(StoreError::Contended(tries)),
        }
    }
}

pub(super) async fn begin_unguarded(
    store: &MySqlStore,
    settings: &TransactionSettings,
) -> Result<Box<dyn OpenTransaction>, StoreError> {
    let session = Session::of(Uuid::new_v4(), *settings);
    let begin = |connection| {
        let session = session.clone();
        async move { session.begin(connection).await }
    };
    let transaction = on_working_connection(&store.transactions, begin).await?;
    Ok(Box::new(Open::new(transaction, Ending::without_record(session, store.clone()))))
}

/// What was read of a record that an execution may win.
#[derive(Clone, Debug)]
struct Seen {
    verdict: String,
    fence: i64,
    number: i32,
    age: Option<i64>,
}

impl Seen {
    fn of(row: &ClaimRow) -> Self {
        Self { verdict: row.0.clone(), fence: row.2, number: row.3, age: row.8 }
    }

    fn is_expired(&self) -> bool {
        self.verdict == "expired"
    }

    fn is_takeover(&self) -> bool {
        self.verdict == "lapsed"
    }

    fn next_number(&self) -> i32 {
        if self.is_expired() { 1 } else { self.number.saturating_add(1) }
    }

    fn age(&self) -> Option<i64> {
        self.age.filter(|_| !self.is_expired())
    }
}

/// How a record's row became ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Inserted,
    Updated,
}

/// What came of the beginning of an execution.
enum Taken {
    Won {
        transaction: Owned<MySql>,
        fence: i64,
    },
    /// Somebody else is at the record.
    Locked,
    /// The record is not any more as it was seen.
    Changed,
}

/// Begins, and locks the record by writing it.
async fn take_up(
    store: MySqlStore,
    connection: PoolConnection<MySql>,
    begin: Begin,
    seen: Option<Seen>,
) -> sqlx::Result<Taken> {
    let session = Session::of(begin.owner.attempt.as_uuid(), begin.settings);
    let mut transaction = session.begin(connection).await?;
    let [id, attempt, fingerprint] = asked(&begin.owner, &begin.fingerprint);
    let executions = &store.executions;
    let fence = match &seen {
        None => {
            // As bytes, which no connection's character set changes.
            let [operation, scope, key] = named(&begin.owner.id).map(Value::in_bytes);
            let insert =
                executions.insert.query(&[id, attempt, fingerprint, operation, scope, key]);
            let drawn: sqlx::Result<(i64,)> =
                insert.fetch_one(connection_of(&mut transaction)).await;
            drawn.map(|(fence,)| Some(fence))
        }
        Some(seen) => {
            let verdict = Value::Bytes(seen.verdict.as_bytes());
            let (fence, number) = (Value::Big(seen.fence), Value::Number(seen.next_number()));
            let takeover = Value::Flag(seen.is_takeover());
            let take = executions.take.query::<MySql, (i32,)>(&[
                id,
                attempt,
                fingerprint,
                verdict,
                fence,
                number,
                takeover,
            ]);
            let done = sqlx::Executor::execute(connection_of(&mut transaction), take).await;
            done.map(|it| (it.rows_affected() == 1).then(|| it.last_insert_id().cast_signed()))
        }
    };
    let taken = match fence {
        Ok(Some(fence)) => return Ok(Taken::Won { transaction, fence }),
        Ok(None) => Taken::Changed,
        Err(error) => match number(&error) {
            Some(numbers::LOCKED) => Taken::Locked,
            Some(numbers::DUPLICATE) => Taken::Changed,
            Some(number) if is_conflict(number) => Taken::Changed,
            // Its session is not used again.
            _ => return Err(error),
        },
    };
    session.roll_back(transaction.into_inner()).await?;
    Ok(taken)
}

fn connection_of(transaction: &mut Owned<MySql>) -> &mut sqlx::MySqlConnection {
    &mut **transaction.transaction()
}
