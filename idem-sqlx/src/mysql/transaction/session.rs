//! What a session is like while a handler has it.
//!
//! MariaDB has no setting that ends with a transaction, so each is set back by hand, and a session in
//! which that may not have been done is ended.

use std::time::Duration;

use idem_core::{Isolation, TransactionSettings};
use sqlx::{MySql, Row, SqlStr, Transaction, pool::PoolConnection};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::super::server::{number, numbers, seconds};
use crate::{dialect::trusted, tx::Owned};

/// A transaction of a handler in its session.
///
/// Should the transaction end before its time, nothing that follows it may be taken for a part of it,
/// or be committed by itself:
/// - its savepoint is gone, whoever ended it;
/// - without `autocommit`, what a handler writes after a deadlock, which the server ends by a rollback,
///   is not committed statement by statement;
/// - a `COMMIT` or `ROLLBACK` by the handler is followed by another transaction at once
///   (`completion_type`), which tells it from an end by the server.
#[derive(Clone, Debug)]
pub(super) struct Session {
    id: Uuid,
    settings: TransactionSettings,
}

/// Whether a transaction was still the one that we began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Still {
    Ours,
    Ended,
}

impl Session {
    pub(super) const fn of(id: Uuid, settings: TransactionSettings) -> Self {
        Self { id, settings }
    }

    pub(super) async fn begin(
        &self,
        connection: PoolConnection<MySql>,
    ) -> sqlx::Result<Owned<MySql>> {
        // Not `Pool::begin_with`: that would have to wait for a connection where it cannot be given up.
        let transaction = Transaction::begin(connection, Some(self.beginning())).await?;
        Ok(Owned::new(transaction, abandon))
    }

    /// The variables that are set, where they are kept meanwhile, and their values.
    fn variables(&self) -> Vec<(&'static str, &'static str, String)> {
        const YEAR: u64 = 365 * 24 * 60 * 60;
        // Rounded up: 0 would be never.
        let whole = |time: Duration| {
            (time.as_secs() + u64::from(time.subsec_nanos() > 0)).clamp(1, YEAR).to_string()
        };
        let TransactionSettings { lock_timeout, statement_timeout, idle_timeout, .. } =
            self.settings;
        let mut set = vec![
            ("autocommit", "@idem_autocommit", "0".to_owned()),
            ("completion_type", "@idem_completion", "'CHAIN'".to_owned()),
            ("idle_transaction_timeout", "@idem_idle", whole(idle_timeout)),
        ];
        if let Some(time) = lock_timeout {
            set.push(("innodb_lock_wait_timeout", "@idem_lock", whole(time)));
            set.push(("lock_wait_timeout", "@idem_table_lock", whole(time)));
        }
        if let Some(time) = statement_timeout {
            set.push(("max_statement_time", "@idem_statement", seconds(time)));
        }
        set
    }

    fn beginning(&self) -> SqlStr {
        let set = self.variables().into_iter().map(|(variable, kept, value)| {
            format!("{kept} = @@{variable}, SESSION {variable} = {value}")
        });
        let set = set.collect::<Vec<_>>().join(", ");
        let isolation = match self.settings.isolation {
            None => "",
            Some(Isolation::ReadCommitted) => "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;",
            Some(Isolation::RepeatableRead) => "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;",
            Some(Isolation::Serializable) => "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;",
        };
        trusted(format!(
            "SET {set};
            {isolation}
            START TRANSACTION READ WRITE;
            SAVEPOINT {}",
            self.savepoint()
        ))
    }

    /// Of this transaction alone.
    fn savepoint(&self) -> String {
        format!("idem_{}", self.id.simple())
    }

    /// Asks for the transaction back. When it is not ours any more, or when this fails, the session has
    /// to be ended.
    pub(super) async fn take_back(
        &self,
        transaction: &mut Transaction<'static, MySql>,
    ) -> sqlx::Result<Still> {
        // Whoever answers this answers nothing else, and nothing that came before it.
        let word = (self.id.as_u64_pair().1 >> 1).cast_signed();
        let savepoint = self.savepoint();
        let sql = trusted(format!("RELEASE SAVEPOINT {savepoint}; SELECT {word} LIMIT 1"));
        match sqlx::raw_sql(sql).fetch_all(&mut **transaction).await {
            Ok(rows)
                if rows.first().is_some_and(|it| it.try_get(0).is_ok_and(|it: i64| it == word)) =>
            {
                Ok(Still::Ours)
            }
            Ok(_) => Err(sqlx::Error::Protocol("the answer is that of another statement".into())),
            Err(error) if number(&error) == Some(numbers::NO_SUCH_SAVEPOINT) => Ok(Still::Ended),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn commit(
        &self,
        transaction: Transaction<'static, MySql>,
    ) -> sqlx::Result<()> {
        self.end("COMMIT", transaction).await
    }

    pub(super) async fn roll_back(
        &self,
        transaction: Transaction<'static, MySql>,
    ) -> sqlx::Result<()> {
        self.end("ROLLBACK", transaction).await
    }

    /// Ends the transaction and sets the session back, in one message.
    async fn end(
        &self,
        how: &'static str,
        mut transaction: Transaction<'static, MySql>,
    ) -> sqlx::Result<()> {
        let set = self.variables().into_iter();
        let set = set.map(|(variable, kept, _)| format!("SESSION {variable} = {kept}"));
        let set = set.collect::<Vec<_>>().join(", ");
        let sql = trusted(format!("{how} AND NO CHAIN; SET {set}"));
        match sqlx::raw_sql(sql).execute(&mut *transaction).await {
            // The driver still has to learn that it is over. Its rollback, of nothing, goes with the
            // connection on its way to the pool.
            Ok(_) => {
                drop(transaction);
                Ok(())
            }
            Err(error) => {
                discard(transaction).await;
                Err(error)
            }
        }
    }
}

/// Has the server end the session, because nobody knows what is set in it. The transaction has ended, and
/// its locks are gone, before.
pub(super) async fn discard(mut transaction: Transaction<'static, MySql>) {
    let end = sqlx::raw_sql("ROLLBACK AND NO CHAIN; KILL CONNECTION CONNECTION_ID()");
    // It succeeds by failing.
    let _ = end.execute(&mut *transaction).await;
}

/// For transactions that nobody ends.
fn abandon(transaction: Transaction<'static, MySql>) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(discard(transaction));
    }
}
