//! Executions that commit together with their records.

mod ending;
mod session;
mod statements;

use idem_core::{
    Begin, Begun, Claimed, Judged, OpenTransaction, RECORD_VERSION, StoreError, TransactionSettings,
};
use sqlx::{MySql, pool::PoolConnection};
use tokio::time::{Duration, Instant, sleep};
use uuid::Uuid;

pub(super) use self::statements::Executions;
use self::{ending::Ending, session::Session};
use super::{
    MySqlStore,
    server::{is_conflict, number, numbers},
};
use crate::{
    execution::{Open, decided, on_working_connection},
    row::{ClaimRow, judged},
    sql::{Statements, asked, named},
    statement::Value,
    tx::Owned,
};

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
    transaction.transaction()
}
