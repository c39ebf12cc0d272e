//! What a handler is given when it runs, and what it gives back.

use std::{any::Any, fmt};

use http::Response;

use crate::{attempt::Attempt, problem::Problem};

/// What comes with the right to run: the attempt, and the transaction to run in.
#[derive(Default)]
pub struct Granted {
    attempt: Option<Attempt>,
    transaction: Option<Box<dyn Any + Send>>,
}

impl Granted {
    pub(crate) fn attempt_of(attempt: Attempt) -> Self {
        Self { attempt: Some(attempt), transaction: None }
    }

    pub(crate) fn transaction_of(
        attempt: Option<Attempt>,
        transaction: Box<dyn Any + Send>,
    ) -> Self {
        Self { attempt, transaction: Some(transaction) }
    }

    /// The attempt; `None` when the request runs unguarded.
    pub const fn attempt(&self) -> Option<&Attempt> {
        self.attempt.as_ref()
    }

    /// Takes the transaction out, as the type that the store lends; `None` when there is none of
    /// that type, or it was taken before.
    pub fn take_transaction<T: 'static>(&mut self) -> Option<T> {
        let transaction = self.transaction.take()?;
        match transaction.downcast() {
            Ok(transaction) => Some(*transaction),
            Err(other) => {
                self.transaction = Some(other);
                None
            }
        }
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

/// What became of a handler.
#[derive(Debug)]
pub enum Handled<B> {
    /// It answered.
    Answered(Response<B>),
    /// It gave up because its transaction met another one, and would do better if it ran again.
    /// Only for handlers that run in a transaction.
    Conflict,
}

impl<B> Handled<B> {
    /// The answer, where nothing is to be recorded.
    pub(crate) fn answer(self) -> Result<Response<B>, Problem> {
        match self {
            Self::Answered(response) => Ok(response),
            Self::Conflict => Err(Problem::TransactionConflict),
        }
    }
}
