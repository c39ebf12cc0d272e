//! Executions that commit together with their records.

use std::{any::Any, fmt, sync::Arc};

use async_trait::async_trait;
use idem_core::{Begin, Begun, Claimed, Ended, OpenTransaction, Recorded, StoreError, crash_point};
use sqlx::{SqlSafeStr, SqlStr, Sqlite, Transaction, pool::PoolConnection};

use super::{SqliteStore, fetch};
use crate::{
    error::store_error,
    row::{COMPLETED, ClaimRow, Hit, claimed},
    sql::{Answer, Dialect, Pending, Statements, trusted},
    tx::{Home, is_conflict, undroppable},
};

/// Takes the file's write lock at once, so that no statement of the handler meets another writer.
/// The savepoint is there for as long as the transaction is the one that we began.
const BEGIN: &str = "BEGIN IMMEDIATE; SAVEPOINT idem";
const STILL_OURS: &str = "RELEASE idem";

/// Who has the writer is alone.
pub(super) fn decide(dialect: &Dialect) -> SqlStr {
    trusted(dialect.decide("SELECT true AS got"))
}

pub(super) fn record(dialect: &Dialect) -> SqlStr {
    // The parser needs a condition before ON CONFLICT.
    trusted(dialect.record("true"))
}

/// Looks on a connection that reads first, so that a replay does not wait for whoever writes.
pub(super) async fn begin(store: &SqliteStore, begin: &Begin) -> Result<Begun, StoreError> {
    let look = Statements::begin(&store.look, begin);
    if let Some(row) = fetch(&store.readers, look).await?.pop()
        && let Some(refused) = claimed(row)?
    {
        return Ok(Begun::Refused(refused));
    }
    let writer = store.writer.acquire().await.map_err(StoreError::unreachable)?;
    let looking = look_again(store.clone(), writer, begin.clone());
    let (transaction, row) = undroppable(looking).await.map_err(store_error)?;
    let (fence, number) = (row.2, row.3);
    match (claimed(row)?, transaction) {
        (Some(Claimed::Won { fence: drawn, number: executions }), Some(transaction)) => {
            let Begin { owner, fingerprint, .. } = begin.clone();
            let record = Some(Pending { owner, fingerprint, fence, number });
            let transaction = Open { home: Home::of(transaction), record, store: store.clone() };
            Ok(Begun::Won { fence: drawn, number: executions, transaction: Box::new(transaction) })
        }
        (Some(refused), _) => Ok(Begun::Refused(refused)),
        (None, _) => Err(StoreError::Damaged("a verdict that does not decide")),
    }
}

pub(super) async fn begin_unguarded(
    store: &SqliteStore,
) -> Result<Box<dyn OpenTransaction>, StoreError> {
    let writer = store.writer.acquire().await.map_err(StoreError::unreachable)?;
    let transaction = undroppable(begun(writer)).await.map_err(store_error)?;
    Ok(Box::new(Open { home: Home::of(transaction), record: None, store: store.clone() }))
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

/// A transaction that was begun for one execution.
struct Open {
    home: Arc<Home<Sqlite>>,
    record: Option<Pending>,
    store: SqliteStore,
}

#[async_trait]
impl OpenTransaction for Open {
    fn lend(&mut self) -> Box<dyn Any + Send> {
        self.home.lend()
    }

    async fn commit(self: Box<Self>, record: Option<Recorded<'_>>) -> Result<Ended, StoreError> {
        let transaction = match self.home.close() {
            Ok(transaction) => transaction,
            Err(escaped) => return Ok(escaped),
        };
        let answer = record.map(Answer::from);
        undroppable(async move { self.write_and_commit(transaction, answer).await }).await
    }

    async fn reject(self: Box<Self>, record: Recorded<'_>) -> Result<Ended, StoreError> {
        let answer = Answer::from(record);
        let (store, pending) = (self.store.clone(), self.record.clone());
        let ended = self.roll_back().await;
        let (Ok(Ended::Done) | Err(_), Some(pending)) = (&ended, pending) else {
            return ended;
        };
        let alone = Statements::record(&store.record, &pending, &answer);
        let hits: Vec<Hit> = fetch(&store.writer, alone).await?;
        Ok(if hits.is_empty() { Ended::Superseded } else { Ended::Done })
    }

    async fn roll_back(self: Box<Self>) -> Result<Ended, StoreError> {
        match self.home.close() {
            Ok(mut transaction) => {
                undroppable(async {
                    is_ours(&mut transaction).await;
                    transaction.rollback().await.map_err(store_error)?;
                    Ok(Ended::Done)
                })
                .await
            }
            Err(escaped) => Ok(escaped),
        }
    }
}

impl Open {
    async fn write_and_commit(
        &self,
        mut transaction: Transaction<'static, Sqlite>,
        answer: Option<Answer>,
    ) -> Result<Ended, StoreError> {
        if !is_ours(&mut transaction).await {
            transaction.rollback().await.map_err(store_error)?;
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

/// Whether the transaction is the one that we began. If the handler ended it, another one is begun:
/// the driver would otherwise fail to roll back, and be of no use from then on.
async fn is_ours(transaction: &mut Transaction<'static, Sqlite>) -> bool {
    let is_ours = sqlx::query(STILL_OURS).execute(&mut **transaction).await.is_ok();
    if !is_ours && let Err(error) = sqlx::raw_sql("BEGIN").execute(&mut **transaction).await {
        tracing::debug!(%error, "the handler has begun a transaction of its own");
    }
    is_ours
}

/// What an error says that nothing was committed after.
fn refused(error: sqlx::Error) -> Ended {
    if is_conflict(&error) { Ended::Conflict } else { Ended::Refused(error.into()) }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("store", &self.store).finish_non_exhaustive()
    }
}
