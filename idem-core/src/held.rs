//! Held records: listed, and ended by a decision.

use std::{error::Error, fmt, panic::AssertUnwindSafe};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use http::Response;
use tokio::time::Instant;

use crate::{
    attempt::Attempt,
    endpoint::{Endpoint, Times},
    engine::{Engine, warn_of},
    error::StoreError,
    observe::Call,
    record::{Fence, Held},
    response::stored,
    store::{Resolution, Store, Written},
};

/// How many held records a reconciler's round reads at once.
const PAGE: u32 = 100;

/// What became of a held request.
#[derive(Clone)]
pub enum Outcome {
    /// It was done. Retries get this answer, whatever its status and its size; headers that are
    /// never recorded are left out.
    Completed(Response<Bytes>),
    /// It was not done. A retry executes.
    Failed,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed(response) => write!(f, "Completed({}, …)", response.status().as_u16()),
            Self::Failed => f.write_str("Failed"),
        }
    }
}

/// Why a held record was not resolved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Somebody else decided otherwise, a retry executes, or the execution lives after all.
    /// Nothing was written.
    #[error("the record is no longer held as it was listed; list the held records again")]
    Changed,
    /// The store could not answer.
    #[error("the resolution could not be written; it may be sent again")]
    Store(#[from] StoreError),
}

/// Finds out what became of held requests. Runs by
/// [`Idem::spawn_reconciler`](crate::Idem::spawn_reconciler).
///
/// Implement it with `#[async_trait]`.
///
/// ```
/// use std::{error::Error, time::Duration};
///
/// use http::Response;
/// use idem_core::{Held, Outcome, Reconciler, async_trait};
/// # struct Provider;
/// # struct Charge { id: String }
/// # impl Provider {
/// #     async fn find(&self, key: &str) -> Result<Option<Charge>, Box<dyn Error + Send + Sync>> { Ok(None) }
/// # }
///
/// struct AskProvider(Provider);
///
/// #[async_trait]
/// impl Reconciler for AskProvider {
///     async fn reconcile(
///         &self,
///         held: &Held,
///     ) -> Result<Option<Outcome>, Box<dyn Error + Send + Sync>> {
///         if held.id.operation() != "POST /payments" || held.held_for < Duration::from_secs(60) {
///             return Ok(None);
///         }
///         // The key that the handler called the provider with.
///         let key = held.attempt().child_key("charge");
///         Ok(Some(match self.0.find(&key).await? {
///             Some(charge) => Outcome::Completed(Response::new(charge.id.into())),
///             None => Outcome::Failed,
///         }))
///     }
/// }
/// ```
#[async_trait]
pub trait Reconciler: Send + Sync + 'static {
    /// Finds out what became of a held request; `None` when that is not known yet.
    ///
    /// It is asked again in the next round, and several servers may ask at once. Records are
    /// asked for one after the other: bound the calls to other systems by a timeout, or one that
    /// hangs holds up the others. The future is dropped at [`Idem::drain`](crate::Idem::drain).
    ///
    /// # Errors
    ///
    /// Whatever went wrong. The log tells only the operation, because an error may quote what a
    /// client sent.
    async fn reconcile(&self, held: &Held)
    -> Result<Option<Outcome>, Box<dyn Error + Send + Sync>>;
}

impl Held {
    /// The attempt as its handler saw it: with the [`child_key`](Attempt::child_key)s under which
    /// it called other systems, which can be asked what became of it.
    pub fn attempt(&self) -> Attempt {
        Attempt::new(self.id.clone(), self.fence, self.number)
    }
}

/// Whether nothing follows a page of up to `limit` records.
fn is_last(page: &[Held], limit: u32) -> bool {
    usize::try_from(limit).is_ok_and(|limit| page.len() < limit)
}

impl Engine {
    /// Lists up to `limit` held records that are not being executed here.
    pub(crate) async fn held(
        &self,
        mut after: Option<Fence>,
        limit: u32,
    ) -> Result<Vec<Held>, StoreError> {
        let deadline = Instant::now() + self.store.timeout;
        let mut found = Vec::new();
        let mut missing = limit;
        while missing > 0 {
            let page = self
                .store
                .until(deadline, Call::Held, self.store.store.held(after, missing))
                .await?;
            after = page.last().map(|held| held.fence);
            let is_last = is_last(&page, missing);
            for held in page.into_iter().filter(|held| !self.running.executes(&held.id)) {
                found.push(held);
                missing = missing.saturating_sub(1);
            }
            if is_last {
                break;
            }
        }
        Ok(found)
    }

    pub(crate) async fn resolve(&self, held: &Held, outcome: Outcome) -> Result<(), ResolveError> {
        // It may have been listed while its claim was still on the way home.
        if self.running.executes(&held.id) {
            return Err(ResolveError::Changed);
        }
        let Times { ttl, failed_ttl, .. } = Times::of(&Endpoint::new(), &self.defaults);
        let resolution = match outcome {
            Outcome::Completed(response) => {
                let (parts, body) = response.into_parts();
                let mut response = stored(&parts, &self.defaults);
                response.body = Some(body);
                Resolution::Completed { response, ttl }
            }
            Outcome::Failed => Resolution::Failed { ttl: failed_ttl },
        };
        let owner = held.owner();
        match self
            .store
            .within(Call::Resolve, self.store.store.resolve(&owner, &resolution))
            .await?
        {
            Written::Accepted => Ok(()),
            Written::Stale => Err(ResolveError::Changed),
        }
    }

    /// Asks about all held records once, and resolves those whose outcome is known.
    pub(crate) async fn reconcile(&self, reconciler: &dyn Reconciler) {
        let mut after = None;
        loop {
            let page = match self.held(after, PAGE).await {
                Ok(page) => page,
                Err(error) => return warn_of(&error, "held records could not be listed"),
            };
            for held in &page {
                if self.draining.is_cancelled() {
                    return;
                }
                self.reconcile_one(reconciler, held).await;
            }
            if is_last(&page, PAGE) {
                return;
            }
            after = page.last().map(|held| held.fence);
        }
    }

    async fn reconcile_one(&self, reconciler: &dyn Reconciler, held: &Held) {
        let operation = held.id.operation();
        let asked = AssertUnwindSafe(async { reconciler.reconcile(held).await }).catch_unwind();
        let outcome = match self.draining.run_until_cancelled(asked).await {
            Some(Ok(Ok(Some(outcome)))) => outcome,
            Some(Ok(Ok(None))) | None => return,
            Some(Ok(Err(_))) => {
                return tracing::warn!(operation, "the reconciler failed at a held record");
            }
            Some(Err(_)) => {
                return tracing::error!(operation, "the reconciler panicked at a held record");
            }
        };
        match self.resolve(held, outcome).await {
            Ok(()) => tracing::info!(operation, "a held record was resolved"),
            Err(ResolveError::Changed) => {
                tracing::debug!(operation, "a held record changed before it was resolved");
            }
            Err(error) => {
                let error = &error as &dyn Error;
                tracing::warn!(operation, error, "a held record could not be resolved");
            }
        }
    }
}
