//! The transaction that a handler works in, and its way back home.

use std::{
    any::Any,
    error::Error,
    fmt, mem,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use idem_core::Ended;
use sqlx::{Database, Transaction, error::DatabaseError};

use crate::error::is_conflict_of_database;

/// The database transaction that a handler runs in. Take it as an argument: what the handler writes
/// through it and the record of its answer commit together, or not at all.
///
/// It dereferences to the connection, so `&mut *tx` goes wherever `sqlx` wants an executor, and
/// `tx.begin()` makes a savepoint. Committing is not the handler's business: its answer decides. A
/// `Tx` must be gone when the handler returns; one that was moved into a task makes the request
/// fail, and nothing commits.
///
/// ```no_run
/// # use idem_sqlx::Tx;
/// # use sqlx::{Connection, Postgres};
/// async fn rename(mut tx: Tx<Postgres>) -> sqlx::Result<()> {
///     sqlx::query("UPDATE shops SET name = 'x'").execute(&mut *tx).await?;
///     let mut savepoint = tx.begin().await?;
///     sqlx::query("INSERT INTO tags VALUES ('new')").execute(&mut *savepoint).await?;
///     savepoint.rollback().await
/// }
/// ```
pub struct Tx<DB: Database> {
    /// Always there, but for the moment when it goes home.
    transaction: Option<Owned<DB>>,
    home: Arc<Home<DB>>,
}

impl<DB: Database> Tx<DB> {
    /// The transaction, for code that takes a `&mut Transaction`.
    ///
    /// ```no_run
    /// # use idem_sqlx::Tx;
    /// # use sqlx::{Postgres, Transaction};
    /// async fn audit(_: &mut Transaction<'_, Postgres>) -> sqlx::Result<()> { Ok(()) }
    ///
    /// async fn handler(mut tx: Tx<Postgres>) -> sqlx::Result<()> {
    ///     audit(tx.transaction()).await
    /// }
    /// ```
    #[allow(clippy::missing_panics_doc, reason = "it goes home only when it is dropped")]
    pub fn transaction(&mut self) -> &mut Transaction<'static, DB> {
        self.transaction.as_mut().expect("it goes home only when it is dropped").transaction()
    }
}

impl<DB: Database> Deref for Tx<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.transaction.as_ref().expect("it goes home only when it is dropped").connection()
    }
}

impl<DB: Database> DerefMut for Tx<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.transaction()
    }
}

impl<DB: Database> AsMut<DB::Connection> for Tx<DB> {
    fn as_mut(&mut self) -> &mut DB::Connection {
        self
    }
}

impl<DB: Database> Drop for Tx<DB> {
    fn drop(&mut self) {
        let mut place = self.home.place();
        if let (Place::Lent, Some(transaction)) = (&*place, self.transaction.take()) {
            *place = Place::Home(transaction);
        }
    }
}

impl<DB: Database> fmt::Debug for Tx<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").finish_non_exhaustive()
    }
}

/// A transaction, and what is done with one that nobody ends.
pub(crate) struct Owned<DB: Database> {
    /// Always there, but for the moment when it goes.
    transaction: Option<Transaction<'static, DB>>,
    abandon: fn(Transaction<'static, DB>),
}

impl<DB: Database> Owned<DB> {
    pub(crate) const fn new(
        transaction: Transaction<'static, DB>,
        abandon: fn(Transaction<'static, DB>),
    ) -> Self {
        Self { transaction: Some(transaction), abandon }
    }

    pub(crate) fn transaction(&mut self) -> &mut Transaction<'static, DB> {
        self.transaction.as_mut().expect("it goes only with its owner")
    }

    fn connection(&self) -> &DB::Connection {
        self.transaction.as_ref().expect("it goes only with its owner")
    }

    /// For whoever ends it.
    pub(crate) fn into_inner(mut self) -> Transaction<'static, DB> {
        self.transaction.take().expect("it goes only with its owner")
    }
}

/// One that needs nothing but to be rolled back, as the driver does.
impl<DB: Database> From<Transaction<'static, DB>> for Owned<DB> {
    fn from(transaction: Transaction<'static, DB>) -> Self {
        Self::new(transaction, drop)
    }
}

impl<DB: Database> Drop for Owned<DB> {
    fn drop(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            (self.abandon)(transaction);
        }
    }
}

/// Where a transaction is when its handler does not have it.
pub(crate) struct Home<DB: Database>(Mutex<Place<DB>>);

enum Place<DB: Database> {
    Home(Owned<DB>),
    Lent,
    /// Nobody waits for it any more.
    Closed,
}

impl<DB: Database> Home<DB> {
    pub(crate) fn of(transaction: Owned<DB>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Place::Home(transaction))))
    }

    /// Lends the transaction, as a [`Tx`].
    pub(crate) fn lend(self: &Arc<Self>) -> Box<dyn Any + Send> {
        let transaction = match mem::replace(&mut *self.place(), Place::Lent) {
            Place::Home(transaction) => Some(transaction),
            Place::Lent | Place::Closed => None,
        };
        Box::new(Tx { transaction, home: Arc::clone(self) })
    }

    /// Takes the transaction back for good; whoever still has it can no longer commit it.
    ///
    /// # Errors
    ///
    /// [`Ended::Escaped`] if it is still lent.
    pub(crate) fn close(&self) -> Result<Transaction<'static, DB>, Ended> {
        match mem::replace(&mut *self.place(), Place::Closed) {
            Place::Home(transaction) => Ok(transaction.into_inner()),
            Place::Lent | Place::Closed => Err(Ended::Escaped),
        }
    }

    fn place(&self) -> MutexGuard<'_, Place<DB>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error is, or was caused by, an error of the database that says that two transactions
/// met and this one had to go: serialization failures and deadlocks on Postgres (SQLSTATE 40001 and
/// 40P01), deadlocks, locks that were waited for in vain and rows that changed on MariaDB (error numbers
/// 1213, 1205 and 1020), a locked file on SQLite.
///
/// ```
/// assert!(!idem_sqlx::is_conflict(&sqlx::Error::RowNotFound));
/// ```
pub fn is_conflict(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let wrapped: Option<&Box<dyn DatabaseError>> = match error.downcast_ref() {
            Some(sqlx::Error::Database(error)) => Some(error),
            // Errors that are transparent hide the `sqlx::Error`, and show what is inside of it.
            _ => error.downcast_ref(),
        };
        if let Some(error) = wrapped {
            return is_conflict_of_database(error.as_ref());
        }
        next = error.source();
    }
    false
}
