//! Executions that commit together with their records.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use idem_core::{
    Begin, Begun, Ended, Isolation, Judged, OpenTransaction, RECORD_VERSION, StoreError,
    TransactionSettings, crash_point,
};
use sha2::{Digest, Sha256};
use sqlx::{
    FromRow, Postgres, SqlSafeStr, Transaction,
    pool::PoolConnection,
    postgres::{PgRow, PgTransactionManager},
};
use sqlx_core::transaction::TransactionManager;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{PostgresStore, dialect, primary::only_there};
use crate::{
    connections::Server,
    dialect::Dialect,
    error::{Refusal, store_error},
    execution::{Close, Open, decided, on_working_connection},
    row::{COMPLETED, ClaimRow, Hit, judged},
    sql::{Answer, Pending, Statements, milliseconds},
    statement::{Query, Statement},
    tx::is_conflict,
};

/// What the record statement says: whether the transaction is the one that we began, and whether
/// the record was written.
type Outcome = (Option<bool>, bool);

/// Marks a transaction, so that we know it again, and sets how it behaves; of the four parameters
/// this is the first.
fn mark(parameter: usize) -> String {
    let [mark, idle, lock, statement] = [0, 1, 2, 3].map(|it| parameter + it);
    format!(
        "set_config('idem.attempt', ${mark}, true),
        set_config('idle_in_transaction_session_timeout', ${idle}, true),
        CASE WHEN ${lock} IS NOT NULL THEN set_config('lock_timeout', ${lock}, true) END,
        CASE WHEN ${statement} IS NOT NULL
            THEN set_config('statement_timeout', ${statement}, true) END"
    )
}

/// Locks and reads. The lock is tried, never waited for, and only makes refusing fast.
pub(super) fn decide(dialect: &Dialect) -> Statement {
    let mark = mark(5);
    let locked = format!("SELECT pg_try_advisory_xact_lock($4) AS got, {mark}");
    only_there(dialect, &dialect.decide(&locked))
}

/// Locks, for a record that was read before. A serializable transaction that reads the table would
/// conflict with those that write other records on the same page.
pub(super) fn lock(dialect: &Dialect) -> Statement {
    let (mark, fence) = (mark(2), &dialect.fence);
    let sql = format!(
        "WITH locked AS MATERIALIZED (SELECT pg_try_advisory_xact_lock($1) AS got, {mark})
        SELECT CASE WHEN got THEN 'won' ELSE 'in flight' END,
            {RECORD_VERSION}::smallint, CASE WHEN got THEN {fence} ELSE 0 END, 1,
            NULL::smallint, NULL::bytea, NULL::bytea, false, NULL::bigint, NULL::bigint
        FROM locked"
    );
    only_there(dialect, &sql)
}

/// Writes the record if the transaction has the mark `$13`: it has not if the handler ended it.
/// Without a mark to look for, the statement stands alone.
pub(super) fn record(dialect: &Dialect) -> Statement {
    let record = dialect.record("(SELECT ours FROM marked)");
    dialect.statement(format!(
        "WITH marked AS MATERIALIZED (
            SELECT $13 IS NULL OR current_setting('idem.attempt', true) = $13 AS ours
        ), written AS ({record})
        SELECT ours, EXISTS (SELECT FROM written) FROM marked"
    ))
}

pub(super) async fn begin(store: &PostgresStore, begin: &Begin) -> Result<Begun, StoreError> {
    let mut before = None;
    if begin.settings.isolation == Some(Isolation::Serializable) {
        match look_before(store, begin).await? {
            Ok(seen) => before = Some(seen),
            Err(refused) => return Ok(Begun::Refused(refused)),
        }
    }
    let lock = lock_key(store, begin);
    let looking = |connection| look(store.clone(), connection, begin.clone(), lock, before);
    let (transaction, row) = on_working_connection(&store.transactions, looking).await?;
    let mark = mark_of(begin);
    let record = |pending| Ending { mark, record: Some((pending, lock)), store: store.clone() };
    decided(begin, row, transaction, record)
}

pub(super) async fn begin_unguarded(
    store: &PostgresStore,
    settings: &TransactionSettings,
) -> Result<Box<dyn OpenTransaction>, StoreError> {
    let mark = Uuid::new_v4().to_string();
    let only_mark = |connection| only_mark(store.clone(), connection, mark.clone(), *settings);
    let transaction = on_working_connection(&store.transactions, only_mark).await?;
    Ok(Box::new(Open::new(transaction, Ending { mark, record: None, store: store.clone() })))
}

/// What was read of a record that an execution may win.
#[derive(Clone, Copy)]
struct Before {
    number: i32,
    takeover: bool,
    age: Option<i64>,
}

/// Reads the record outside of the transaction, and says which execution it would be.
async fn look_before(
    store: &PostgresStore,
    begin: &Begin,
) -> Result<Result<Before, Judged>, StoreError> {
    const NOTHING: Before = Before { number: 1, takeover: false, age: None };
    let query = || Statements::begin(&store.look, begin);
    let rows: Vec<ClaimRow> = store.main.fetch(query).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(Ok(NOTHING)) };
    let before = match row.0.as_str() {
        verdict @ ("failed" | "lapsed") => {
            Before { number: row.3.saturating_add(1), takeover: verdict == "lapsed", age: row.8 }
        }
        _ => NOTHING,
    };
    Ok(match judged(row)? {
        Some(refused) => Err(refused),
        None => Ok(before),
    })
}

/// Begins, locks and reads, unless the record was read before; ends again unless the record lets
/// the request run.
async fn look(
    store: PostgresStore,
    connection: PoolConnection<Postgres>,
    begin: Begin,
    lock: i64,
    before: Option<Before>,
) -> sqlx::Result<(Option<Transaction<'static, Postgres>>, ClaimRow)> {
    let mut transaction = begun(connection, begin.settings.isolation).await?;
    let mark = mark_of(&begin);
    let query = match before {
        None => Statements::begin(&store.decide, &begin).bind(lock),
        Some(_) => sqlx::query_as(&store.lock).bind(lock),
    };
    let query = with_settings(query, &mark, &begin.settings);
    let mut row: ClaimRow = query.fetch_one(&mut *transaction).await?;
    if let Some(Before { number, takeover, age }) = before {
        (row.3, row.7, row.8) = (number, takeover, age);
    }
    if row.0 == "won" {
        return Ok((Some(transaction), row));
    }
    transaction.rollback().await?;
    Ok((None, row))
}

async fn only_mark(
    store: PostgresStore,
    connection: PoolConnection<Postgres>,
    mark: String,
    settings: TransactionSettings,
) -> sqlx::Result<Transaction<'static, Postgres>> {
    let mut transaction = begun(connection, settings.isolation).await?;
    let sql = format!("SELECT 1 FROM (SELECT {}) AS marked", self::mark(1));
    let sql = only_there(&dialect(&store.names), &sql);
    let query: Query<'_, Postgres, Hit> = with_settings(sqlx::query_as(&sql), &mark, &settings);
    query.fetch_one(&mut *transaction).await?;
    Ok(transaction)
}

async fn begun(
    connection: PoolConnection<Postgres>,
    isolation: Option<Isolation>,
) -> sqlx::Result<Transaction<'static, Postgres>> {
    let statement = match isolation {
        None => "BEGIN",
        Some(Isolation::ReadCommitted) => "BEGIN ISOLATION LEVEL READ COMMITTED",
        Some(Isolation::RepeatableRead) => "BEGIN ISOLATION LEVEL REPEATABLE READ",
        Some(Isolation::Serializable) => "BEGIN ISOLATION LEVEL SERIALIZABLE",
    };
    // Not `Pool::begin_with`: that would have to wait for a connection where it cannot be given up.
    Transaction::begin(connection, Some(statement.into_sql_str())).await
}

fn with_settings<'q, T>(
    query: Query<'q, Postgres, T>,
    mark: &'q str,
    settings: &TransactionSettings,
) -> Query<'q, Postgres, T>
where
    T: for<'r> FromRow<'r, PgRow>,
{
    // The greatest number that the server takes.
    let text = |time| milliseconds(time).min(i64::from(i32::MAX)).to_string();
    query
        .bind(mark)
        .bind(text(settings.idle_timeout))
        .bind(settings.lock_timeout.map(text))
        .bind(settings.statement_timeout.map(text))
}

fn mark_of(begin: &Begin) -> String {
    begin.owner.attempt.as_uuid().to_string()
}

/// 64 bits of a digest over table and record. Two records that share them only refuse each other
/// while one is executed.
fn lock_key(store: &PostgresStore, begin: &Begin) -> i64 {
    let mut digest = Sha256::new();
    digest.update(store.names.quoted(""));
    digest.update(begin.owner.id.digest());
    let digest = digest.finalize();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(bytes)
}

/// How the transaction of one execution ends.
struct Ending {
    mark: String,
    /// The record to write, and the key of the lock that goes with it.
    record: Option<(Pending, i64)>,
    store: PostgresStore,
}

#[async_trait]
impl Close<Postgres> for Ending {
    fn has_record(&self) -> bool {
        self.record.is_some()
    }

    async fn commit(
        &self,
        mut transaction: Transaction<'static, Postgres>,
        answer: Option<Answer>,
    ) -> Result<Ended, StoreError> {
        if has_savepoint(&transaction) {
            discard(transaction).await;
            return Ok(Ended::Refused("the handler has forgotten a savepoint".into()));
        }
        match self.write(&mut transaction, answer.as_ref()).await {
            Ok((Some(true), true)) => {}
            Ok((Some(true), false)) => {
                transaction.rollback().await.map_err(store_error)?;
                return Ok(Ended::Superseded);
            }
            Ok(_) => return Ok(Ended::EndedByHandler),
            Err(error) => {
                // Not left to a drop: another run is not to meet the lock of this one.
                if let Err(error) = transaction.rollback().await {
                    tracing::debug!(%error, "a transaction that failed cannot be rolled back");
                }
                return refused(error);
            }
        }
        crash_point("idem::after-record");
        match transaction.commit().await {
            Ok(()) => Ok(Ended::Done),
            Err(error @ sqlx::Error::Database(_)) if !Postgres::is_broken(&error) => refused(error),
            Err(error) => self.find_out(error).await,
        }
    }

    async fn roll_back(
        &self,
        mut transaction: Transaction<'static, Postgres>,
    ) -> sqlx::Result<Ended> {
        // One in which a statement has failed says nothing any more, and is rolled back.
        let is_ours = self.is_ours(&mut transaction).await.ok();
        if has_savepoint(&transaction) {
            discard(transaction).await;
        } else {
            transaction.rollback().await?;
        }
        Ok(if is_ours == Some(false) { Ended::EndedByHandler } else { Ended::Done })
    }

    async fn record(&self, answer: &Answer) -> Result<bool, StoreError> {
        let Some((pending, _)) = &self.record else { return Ok(false) };
        let alone = || Statements::record(&self.store.record, pending, answer).bind(None::<&str>);
        let outcomes: Vec<Outcome> = self.store.main.fetch(alone).await?;
        if outcomes.iter().any(|(_, written)| *written) {
            return Ok(true);
        }
        // It may have been sent twice.
        let ours = || self.store.statements.ended(&pending.owner, COMPLETED);
        Ok(!self.store.main.fetch(ours).await?.is_empty())
    }
}

impl Ending {
    /// Writes the record, if there is one, and makes sure that the transaction is still ours and
    /// unharmed: a commit of one that is not reports success.
    async fn write(
        &self,
        transaction: &mut Transaction<'static, Postgres>,
        answer: Option<&Answer>,
    ) -> sqlx::Result<Outcome> {
        if let (Some((pending, _)), Some(answer)) = (&self.record, answer) {
            let query = Statements::record(&self.store.record, pending, answer).bind(&self.mark);
            return query.fetch_one(&mut **transaction).await;
        }
        Ok((Some(self.is_ours(transaction).await?), true))
    }

    /// Whether the transaction is the one that we began, and not one that followed it, or none.
    async fn is_ours(
        &self,
        transaction: &mut Transaction<'static, Postgres>,
    ) -> sqlx::Result<bool> {
        let marked = sqlx::query_scalar("SELECT current_setting('idem.attempt', true) = $1");
        let marked: Option<bool> = marked.bind(&self.mark).fetch_one(&mut **transaction).await?;
        Ok(marked == Some(true))
    }

    /// The answer to `COMMIT` is lost. The server still holds the lock for as long as it is at that
    /// transaction; when the lock is free, the record tells.
    async fn find_out(&self, lost: sqlx::Error) -> Result<Ended, StoreError> {
        const PAUSE: Duration = Duration::from_millis(50);
        // A standby may not have seen the commit yet.
        const FREE: &str = "SELECT pg_try_advisory_xact_lock($1) AND NOT pg_is_in_recovery()";
        let Some((pending, lock)) = &self.record else {
            return Ok(Ended::Unknown);
        };
        let deadline = Instant::now() + self.store.statement_timeout;
        while Instant::now() < deadline {
            let free = || sqlx::query_as(FREE).bind(*lock);
            let is_free: Result<Vec<(bool,)>, _> = self.store.main.fetch(free).await;
            if is_free.is_ok_and(|it| it == [(true,)]) {
                let ours = || self.store.statements.ended(&pending.owner, COMPLETED);
                match self.store.main.fetch(ours).await {
                    Ok(hits) if hits.is_empty() => return Err(store_error(lost)),
                    Ok(_) => return Ok(Ended::Done),
                    Err(_) => {}
                }
            }
            sleep(PAUSE).await;
        }
        Ok(Ended::Unknown)
    }
}

/// Whether the handler began a savepoint and forgot it: the driver would then end that savepoint in
/// place of the transaction, and report success.
fn has_savepoint(transaction: &Transaction<'static, Postgres>) -> bool {
    PgTransactionManager::get_transaction_depth(transaction) > 1
}

/// Has the server end the session, because the driver cannot bring its connection in order again.
async fn discard(mut transaction: Transaction<'static, Postgres>) {
    let end = sqlx::raw_sql("SELECT pg_terminate_backend(pg_backend_pid())");
    // It succeeds by failing.
    let _ = end.execute(&mut *transaction).await;
}

/// What an error says that came before `COMMIT`, or instead of it: nothing was committed.
fn refused(error: sqlx::Error) -> Result<Ended, StoreError> {
    if is_conflict(&error) {
        Ok(Ended::Conflict)
    } else if Postgres::is_broken(&error) {
        Err(store_error(error))
    } else {
        Ok(Ended::Refused(Box::new(Refusal::from(error))))
    }
}

impl Drop for Ending {
    /// However the transaction ended, its lock is free, and what there is to record is recorded.
    fn drop(&mut self) {
        if let Some((pending, _)) = &self.record {
            self.store.announce(&pending.owner.id);
        }
    }
}

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ending").field("store", &self.store).finish_non_exhaustive()
    }
}
