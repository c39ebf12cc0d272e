//! How the transaction of one execution ends.

use std::fmt;

use async_trait::async_trait;
use idem_core::{Ended, StoreError, crash_point};
use sqlx::{Executor, MySql, Row, Transaction, mysql::MySqlTransactionManager};
use sqlx_core::transaction::TransactionManager;
use tokio::time::{Duration, Instant, sleep};

use super::{
    super::{
        MySqlStore,
        server::{number, numbers},
    },
    Place,
    session::{Session, Still, discard},
};
use crate::{
    connections::Server,
    error::{Refusal, store_error},
    execution::Close,
    row::{COMPLETED, Hit},
    sql::{Answer, Pending, Statements, own},
    statement::{Query, Value},
    tx::is_conflict,
};

pub(super) struct Ending {
    session: Session,
    record: Option<(Pending, Place)>,
    store: MySqlStore,
}

impl Ending {
    pub(super) const fn of_record(
        session: Session,
        pending: Pending,
        place: Place,
        store: MySqlStore,
    ) -> Self {
        Self { session, record: Some((pending, place)), store }
    }

    pub(super) const fn without_record(session: Session, store: MySqlStore) -> Self {
        Self { session, record: None, store }
    }
}

#[async_trait]
impl Close<MySql> for Ending {
    fn has_record(&self) -> bool {
        self.record.is_some()
    }

    async fn commit(
        &self,
        mut transaction: Transaction<'static, MySql>,
        answer: Option<Answer>,
    ) -> Result<Ended, StoreError> {
        if has_savepoint(&transaction) {
            discard(transaction).await;
            return Ok(Ended::Refused("the handler has forgotten a savepoint".into()));
        }
        match self.session.take_back(&mut transaction).await {
            Ok(Still::Ours) => {}
            Ok(Still::Ended) => {
                return Ok(match self.who_ended(transaction).await? {
                    By::Handler => Ended::EndedByHandler,
                    By::Server => Ended::Conflict,
                });
            }
            Err(error) => {
                discard(transaction).await;
                return refused(error);
            }
        }
        match self.write(&mut transaction, answer).await {
            Ok(true) => {}
            Ok(false) => {
                self.session.roll_back(transaction).await.map_err(store_error)?;
                return Ok(Ended::Superseded);
            }
            Err(error) => {
                // Not left to a drop: another run is not to meet the lock of this one.
                if let Err(error) = self.session.roll_back(transaction).await {
                    tracing::debug!(%error, "a transaction that failed cannot be rolled back");
                }
                return refused(error);
            }
        }
        crash_point("idem::after-record");
        match self.session.commit(transaction).await {
            Ok(()) => Ok(Ended::Done),
            Err(error) if is_conflict(&error) => Ok(Ended::Conflict),
            Err(error) => self.find_out(error).await,
        }
    }

    async fn roll_back(&self, mut transaction: Transaction<'static, MySql>) -> sqlx::Result<Ended> {
        match self.session.take_back(&mut transaction).await {
            Ok(Still::Ours) if has_savepoint(&transaction) => discard(transaction).await,
            Ok(Still::Ours) => self.session.roll_back(transaction).await?,
            // What was committed is found by whoever asks next.
            Ok(Still::Ended) => {
                if matches!(self.who_ended(transaction).await, Ok(By::Handler)) {
                    return Ok(Ended::EndedByHandler);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a session cannot be taken back");
                discard(transaction).await;
            }
        }
        Ok(Ended::Done)
    }

    async fn record(&self, answer: &Answer) -> Result<bool, StoreError> {
        let Some((pending, _)) = &self.record else { return Ok(false) };
        let kept = self.kept(answer);
        let executions = &self.store.executions;
        let new = || Statements::record(&executions.record_new, pending, &kept);
        match self.store.main.try_write(new).await {
            Ok(_) => return Ok(true),
            Err(failure) => match number(&failure.error) {
                Some(numbers::DUPLICATE) => {}
                // Another execution is at it.
                Some(numbers::LOCKED) => return Ok(false),
                _ => return Err(failure.into()),
            },
        }
        let over = || Statements::record(&executions.record_over, pending, &kept);
        if !self.store.main.write(over).await?.is_empty() {
            return Ok(true);
        }
        // It may have been sent twice.
        let ours = || self.store.statements.ended(&pending.owner, COMPLETED);
        Ok(!self.store.main.fetch(ours).await?.is_empty())
    }
}

/// Who ended a transaction before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Handler,
    /// By a rollback, because of a deadlock.
    Server,
}

impl Ending {
    /// The answer as it is kept.
    fn kept(&self, answer: &Answer) -> Answer {
        answer.with(self.store.kept(answer.response()).into_owned())
    }

    /// Writes the record, if there is one.
    async fn write(
        &self,
        transaction: &mut Transaction<'static, MySql>,
        answer: Option<Answer>,
    ) -> sqlx::Result<bool> {
        let (Some((pending, _)), Some(answer)) = (&self.record, answer) else { return Ok(true) };
        let kept = self.kept(&answer);
        let query: Query<'_, MySql, Hit> =
            Statements::record(&self.store.executions.record, pending, &kept);
        Ok((&mut **transaction).execute(query).await?.rows_affected() == 1)
    }

    /// Ends a session whose transaction is gone, and finds out whose doing that was.
    async fn who_ended(
        &self,
        mut transaction: Transaction<'static, MySql>,
    ) -> Result<By, StoreError> {
        // A handler's own end is followed by another transaction, unless it was a statement that
        // commits by itself, like `CREATE TABLE`.
        let is_open = sqlx::raw_sql("SELECT CAST(@@in_transaction AS signed)");
        let is_open = is_open.fetch_all(&mut *transaction).await.unwrap_or_default();
        let is_followed =
            is_open.first().is_some_and(|row| row.try_get(0).is_ok_and(|it: i64| it == 1));
        discard(transaction).await;
        let is_committed = match &self.record {
            None => false,
            Some((pending, Place::Inserted)) => {
                let [id, attempt] = own(&pending.owner);
                let forget = &self.store.executions.forget;
                let forget = || forget.query(&[id, attempt, Value::Big(pending.fence)]);
                !self.store.main.write(forget).await?.is_empty()
            }
            Some((pending, Place::Updated)) => {
                let is_taken = &self.store.executions.is_taken;
                let is_taken = || is_taken.query(&own(&pending.owner));
                let rows: Vec<Hit> = self.store.main.fetch(is_taken).await?;
                !rows.is_empty()
            }
        };
        Ok(if is_followed || is_committed { By::Handler } else { By::Server })
    }

    /// The answer to `COMMIT` is lost. The record is locked for as long as the server is at that
    /// transaction; when it is not, it tells.
    async fn find_out(&self, lost: sqlx::Error) -> Result<Ended, StoreError> {
        const PAUSE: Duration = Duration::from_millis(50);
        let Some((pending, _)) = &self.record else {
            return Ok(Ended::Unknown);
        };
        let deadline = Instant::now() + self.store.statement_timeout;
        while Instant::now() < deadline {
            // It is sent again while it meets the lock.
            let probe = || self.store.executions.probe.query(&own(&pending.owner));
            let found: Result<Vec<Hit>, _> = self.store.main.fetch(probe).await;
            match found {
                Ok(hits) if hits.is_empty() => return Err(store_error(lost)),
                Ok(_) => return Ok(Ended::Done),
                Err(_) => sleep(PAUSE).await,
            }
        }
        Ok(Ended::Unknown)
    }
}

/// Whether the handler began a savepoint and forgot it: the driver would then end that savepoint in
/// place of the transaction, and report success.
fn has_savepoint(transaction: &Transaction<'static, MySql>) -> bool {
    MySqlTransactionManager::get_transaction_depth(transaction) > 1
}

/// What an error says that came before `COMMIT`: nothing was committed.
fn refused(error: sqlx::Error) -> Result<Ended, StoreError> {
    if is_conflict(&error) {
        Ok(Ended::Conflict)
    } else if MySql::is_broken(&error) {
        Err(store_error(error))
    } else {
        Ok(Ended::Refused(Box::new(Refusal::from(error))))
    }
}

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ending").field("store", &self.store).finish_non_exhaustive()
    }
}
