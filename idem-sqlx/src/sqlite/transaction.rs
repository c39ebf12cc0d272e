//! Executions that commit together with their records.

use std::fmt;

use async_trait::async_trait;
use idem_core::{Begin, Begun, Ended, OpenTransaction, StoreError, crash_point};
use sqlx::{Connection, SqlSafeStr, Sqlite, Transaction, pool::PoolConnection};

use super::{SqliteStore, fetch};
use crate::{
    dialect::Dialect,
    error::{Refusal, store_error},
    execution::{Close, Open, decided, undroppable},
    row::{COMPLETED, ClaimRow, Hit, judged},
    sql::{Answer, Pending, Statements},
    statement::Statement,
    tx::is_conflict,
};

/// Takes the file's write lock at once, so that no statement of the handler meets another writer.
/// The savepoint is there for as long as the transaction is the one that we began.
const BEGIN: &str = "BEGIN IMMEDIATE; SAVEPOINT idem";
const STILL_OURS: &str = "RELEASE idem";

/// Who has the writer is alone.
pub(super) fn decide(dialect: &Dialect) -> Statement {
    dialect.statement(dialect.decide("SELECT true AS got"))
}

pub(super) fn record(dialect: &Dialect) -> Statement {
    // The parser needs a condition before ON CONFLICT.
    dialect.statement(dialect.record("true"))
}

/// Looks on a connection that reads first, so that a replay does not wait for whoever writes.
pub(super) async fn begin(store: &SqliteStore, begin: &Begin) -> Result<Begun, StoreError> {
    let look = Statements::begin(&store.look, begin);
    if let Some(row) = fetch(&store.readers, look).await?.pop()
        && let Some(refused) = judged(row)?
    {
        return Ok(Begun::Refused(refused));
    }
    let writer = store.writer.acquire().await.map_err(StoreError::unreachable)?;
    let looking = look_again(store.clone(), writer, begin.clone());
    let (transaction, row) = undroppable(looking).await.map_err(store_error)?;
    let record = |pending| Ending { record: Some(pending), store: store.clone() };
    decided(begin, row, transaction, record)
}

pub(super) async fn begin_unguarded(
    store: &SqliteStore,
) -> Result<Box<dyn OpenTransaction>, StoreError> {
    let writer = store.writer.acquire().await.map_err(StoreError::unreachable)?;
    let transaction = undroppable(begun(writer)).await.map_err(store_error)?;
    Ok(Box::new(Open::new(transaction, Ending { record: None, store: store.clone() })))
}

async fn look_again(
    store: SqliteStore,
    writer: PoolConnection<Sqlite>,
    begin: Begin,
) -> sqlx::Result<(Option<Transaction<'static, Sqlite>>, ClaimRow)> {
    let mut transaction = begun(writer).await?;
    let query = Statements::begin(&store.decide, &begin);
    let row: ClaimRow = query.fetch_one(&mut *transaction).await?;
    if row.0 == "won" {
        return Ok((Some(transaction), row));
    }
    transaction.rollback().await?;
    Ok((None, row))
}

async fn begun(writer: PoolConnection<Sqlite>) -> sqlx::Result<Transaction<'static, Sqlite>> {
    // Not `Pool::begin_with`: that would have to wait for the writer where it cannot be given up.
    Transaction::begin(writer, Some(BEGIN.into_sql_str())).await
}

/// How the transaction of one execution ends.
struct Ending {
    record: Option<Pending>,
    store: SqliteStore,
}

#[async_trait]
impl Close<Sqlite> for Ending {
    fn has_record(&self) -> bool {
        self.record.is_some()
    }

    async fn commit(
        &self,
        mut transaction: Transaction<'static, Sqlite>,
        answer: Option<Answer>,
    ) -> Result<Ended, StoreError> {
        if !is_ours(&mut transaction).await {
            // A connection on which this fails does not go back to the pool.
            let _ = transaction.rollback().await;
            return Ok(Ended::EndedByHandler);
        }
        if let (Some(pending), Some(answer)) = (&self.record, &answer) {
            let query = Statements::record(&self.store.record, pending, answer);
            let written: sqlx::Result<Option<Hit>> = query.fetch_optional(&mut *transaction).await;
            match written {
                Ok(Some(_)) => {}
                Ok(None) => {
                    transaction.rollback().await.map_err(store_error)?;
                    return Ok(Ended::Superseded);
                }
                Err(error) => return Ok(refused(error)),
            }
        }
        crash_point("idem::after-record");
        match transaction.commit().await {
            Ok(()) => Ok(Ended::Done),
            Err(error) => self.find_out(error).await,
        }
    }

    async fn roll_back(
        &self,
        mut transaction: Transaction<'static, Sqlite>,
    ) -> sqlx::Result<Ended> {
        if is_ours(&mut transaction).await {
            transaction.rollback().await?;
            return Ok(Ended::Done);
        }
        // A connection on which this fails does not go back to the pool.
        let _ = transaction.rollback().await;
        Ok(Ended::EndedByHandler)
    }

    async fn record(&self, answer: &Answer) -> Result<bool, StoreError> {
        let Some(pending) = &self.record else { return Ok(false) };
        let alone = Statements::record(&self.store.record, pending, answer);
        let hits: Vec<Hit> = fetch(&self.store.writer, alone).await?;
        Ok(!hits.is_empty())
    }
}

impl Ending {
    /// A commit that fails is rolled back by now, unless the connection failed after it.
    async fn find_out(&self, error: sqlx::Error) -> Result<Ended, StoreError> {
        let Some(pending) = &self.record else {
            return Ok(refused(error));
        };
        let ours = self.store.statements.ended(&pending.owner, COMPLETED);
        match fetch(&self.store.readers, ours).await {
            Ok(hits) if hits.is_empty() => Ok(refused(error)),
            Ok(_) => Ok(Ended::Done),
            Err(_) => Ok(Ended::Unknown),
        }
    }
}

/// Whether the transaction is the one that we began. If it is not, what is open is rolled back, and
/// if the driver still takes the transaction for open, another one is begun for it to roll back: it
/// would otherwise fail to, and be of no use from then on.
async fn is_ours(transaction: &mut Transaction<'static, Sqlite>) -> bool {
    if sqlx::query(STILL_OURS).execute(&mut **transaction).await.is_ok() {
        return true;
    }
    // It fails if nothing is open.
    let _ = sqlx::raw_sql("ROLLBACK").execute(&mut **transaction).await;
    // The driver rolls back by itself when the making of a savepoint was given up.
    if transaction.is_in_transaction()
        && let Err(error) = sqlx::raw_sql("BEGIN").execute(&mut **transaction).await
    {
        tracing::debug!(%error, "a transaction that was ended cannot be replaced");
    }
    false
}

/// What an error says that nothing was committed after.
fn refused(error: sqlx::Error) -> Ended {
    if is_conflict(&error) {
        Ended::Conflict
    } else {
        Ended::Refused(Box::new(Refusal::from(error)))
    }
}

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ending").field("store", &self.store).finish_non_exhaustive()
    }
}
