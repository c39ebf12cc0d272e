//! Leases: a claim that is renewed for as long as its execution lives.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

use crate::{
    error::StoreError,
    observe::Call,
    record::Owner,
    store::{Store, Written},
};

/// The store with a bound on how long an answer may take.
#[derive(Clone, Debug)]
pub(crate) struct TimedStore {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) timeout: Duration,
}

impl TimedStore {
    /// Runs one operation within the store timeout.
    pub(crate) async fn within<T>(
        &self,
        call: Call,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.until(Instant::now() + self.timeout, call, operation).await
    }

    /// Runs one operation until the deadline of a whole sequence.
    pub(crate) async fn until<T>(
        &self,
        deadline: Instant,
        call: Call,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let asked = call.asked();
        let too_late = Err(StoreError::Timeout(self.timeout));
        let answer = timeout_at(deadline, operation).await.unwrap_or(too_late);
        asked.answered(&answer);
        answer
    }
}

/// A held claim, renewed at a third of its duration until it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Lease {
    pub(crate) owner: Owner,
    _stop: DropGuard,
}

impl Lease {
    /// Goes on from when the lease was last asked for.
    pub(crate) fn start(
        store: TimedStore,
        owner: Owner,
        duration: Duration,
        asked_at: Instant,
    ) -> Self {
        let stop = CancellationToken::new();
        let renewal = renew(store, owner.clone(), duration, asked_at, stop.clone());
        tokio::spawn(renewal.in_current_span());
        Self { owner, _stop: stop.drop_guard() }
    }
}

/// Stops between renewals, never inside of one: a query that is cut off costs its connection.
///
/// A lease counts from when it was asked for, which is never later than when the store granted it. A
/// renewal that hangs is given up in time for another one, and one that fails is soon repeated.
async fn renew(
    store: TimedStore,
    owner: Owner,
    lease: Duration,
    mut asked_at: Instant,
    stop: CancellationToken,
) {
    let operation = owner.id.operation();
    let mut next = asked_at + lease / 3;
    while stop.run_until_cancelled(sleep_until(next)).await.is_some() {
        let now = Instant::now();
        let deadline = now + store.timeout.min(lease / 3);
        match store.until(deadline, Call::Renew, store.store.renew(&owner, lease)).await {
            Ok(Written::Accepted) => {
                asked_at = now;
                next = asked_at + lease / 3;
            }
            Ok(Written::Stale) => {
                // The execution may just have been recorded, and be about to stop us.
                if timeout(store.timeout, stop.cancelled()).await.is_err() {
                    tracing::error!(
                        operation,
                        "an execution that is not recorded yet no longer has its record in flight: \
                         another one took over, or an answer of the store was lost"
                    );
                }
                return;
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(operation, error, "a lease could not be renewed");
                next = Instant::now() + lease / 20;
            }
        }
    }
}
