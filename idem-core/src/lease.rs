//! Leases: a claim that is renewed for as long as its execution lives.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

use crate::{
    record::Owner,
    store::{Store, StoreError, Written},
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
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.until(Instant::now() + self.timeout, operation).await
    }

    /// Runs one operation until the deadline of a whole sequence.
    pub(crate) async fn until<T>(
        &self,
        deadline: Instant,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let timeout = Err(StoreError::Timeout(self.timeout));
        timeout_at(deadline, operation).await.unwrap_or(timeout)
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
    pub(crate) fn start(store: TimedStore, owner: Owner, duration: Duration) -> Self {
        let stop = CancellationToken::new();
        let renewal = renew(store, owner.clone(), duration, stop.clone());
        tokio::spawn(renewal.in_current_span());
        Self { owner, _stop: stop.drop_guard() }
    }
}

/// Stops between renewals, never inside of one: a query that is cut off costs its connection.
async fn renew(store: TimedStore, owner: Owner, lease: Duration, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(lease / 3)).await.is_some() {
        match store.within(store.store.renew(&owner, lease)).await {
            Ok(Written::Accepted) => {}
            Ok(Written::Stale) => {
                if !stop.is_cancelled() {
                    let operation = owner.id.operation();
                    tracing::error!(operation, "an execution lost its lease to another one");
                }
                return;
            }
            Err(error) => {
                let operation = owner.id.operation();
                tracing::warn!(
                    operation,
                    error = &error as &dyn std::error::Error,
                    "a lease could not be renewed"
                );
            }
        }
    }
}
