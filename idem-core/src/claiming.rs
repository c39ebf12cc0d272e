//! Claims: key → run it, replay it, refuse it.

use std::{error::Error, future::Future, sync::Arc};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use tokio::time::{Instant, sleep_until};

use crate::{
    attempt::Attempt,
    endpoint::{OnStoreError, Times},
    engine::{Engine, GuardedRequest},
    execution::Execution,
    problem::Problem,
    record::Owner,
    response::replay,
    running::Entered,
    store::{Claim, Claimed, StoreError, Written},
};

impl Engine {
    /// Claims the request's record and does what the verdict says.
    pub(crate) async fn claim_and_run<B, F, Fut>(
        self: Arc<Self>,
        request: GuardedRequest,
        execute: F,
    ) -> Result<Response<B>, Problem>
    where
        B: Body<Data = Bytes> + From<Bytes> + Send + 'static,
        F: FnOnce(Option<Attempt>) -> Fut,
        Fut: Future<Output = Response<B>>,
    {
        let times = Times::of(request.endpoint, &self.defaults);
        let sent_at = Instant::now();
        let deadline = sent_at + self.store.timeout;
        // Whoever is ahead of us gives up before we have to.
        let gate = match self.running.enter(&request.id).await {
            Entered::Gate(gate) => gate,
            Entered::Executing(other) if other == request.fingerprint => {
                return Err(Problem::InFlight);
            }
            Entered::Executing(_) => return Err(Problem::Mismatch),
        };
        let claim = Claim {
            owner: Owner::draw(request.id.clone()),
            fingerprint: request.fingerprint,
            recover: request.endpoint.recover,
            lease: times.lease,
            ttl: times.ttl,
        };
        match self.claim(&claim, deadline).await {
            Ok(Claimed::Won { fence, number }) => {
                let executing = gate.execute(request.fingerprint);
                let attempt = Attempt::new(request.id.clone(), fence, number);
                let execution = Execution::new(self, request, claim.owner, executing);
                execution.run(async { execute(Some(attempt)).await }).await
            }
            Ok(Claimed::Completed(stored)) => {
                tracing::debug!(operation = request.id.operation(), "replayed");
                replay(stored, &self.defaults)
            }
            Ok(Claimed::Mismatch) => Err(Problem::Mismatch),
            Ok(Claimed::InFlight) => Err(Problem::InFlight),
            Ok(Claimed::Held) => Err(Problem::OutcomeUnknown),
            Err(error) => {
                drop(gate);
                if error.may_have_happened() {
                    self.tasks.spawn(Arc::clone(&self).take_back(claim.owner, sent_at));
                }
                Self::admit_unguarded(&request, &error)?;
                Ok(execute(None).await)
            }
        }
    }

    /// Claims, and makes sure of a lease that may have lapsed while the answer was on its way.
    async fn claim(&self, claim: &Claim, deadline: Instant) -> Result<Claimed, StoreError> {
        let sent_at = Instant::now();
        let claimed = self.store.until(deadline, self.store.store.claim(claim)).await?;
        if matches!(claimed, Claimed::Won { .. }) && sent_at.elapsed() >= claim.lease {
            let renewal = self.store.store.renew(&claim.owner, claim.lease);
            return Ok(match self.store.until(deadline, renewal).await? {
                Written::Accepted => claimed,
                Written::Stale => Claimed::InFlight,
            });
        }
        Ok(claimed)
    }

    /// Releases a claim that may have landed although its answer never came, until it can no longer
    /// land: otherwise it would block its key for a lease, or for good where lapsed claims are held.
    async fn take_back(self: Arc<Self>, owner: Owner, sent_at: Instant) {
        let server_timeout = self.store.store.server_timeout().unwrap_or(self.store.timeout);
        let settled_at = sent_at + self.store.timeout + server_timeout;
        let failure = "a claim without an answer could not be taken back yet";
        let release = || self.store.store.release(&owner);
        let released = self.persist(failure, release).await;
        if released.is_some() && Instant::now() < settled_at {
            sleep_until(settled_at).await;
            self.persist(failure, release).await;
        }
    }

    /// The store cannot answer: the endpoint says whether the handler runs all the same.
    fn admit_unguarded(request: &GuardedRequest, error: &StoreError) -> Result<(), Problem> {
        let operation = request.id.operation();
        let error = error as &dyn Error;
        match request.endpoint.on_store_error {
            OnStoreError::Refuse => {
                tracing::error!(operation, error, "the store cannot answer: a request was refused");
                Err(Problem::StoreUnavailable)
            }
            OnStoreError::Bypass => {
                tracing::warn!(
                    operation,
                    error,
                    "the store cannot answer: a request runs unguarded"
                );
                Ok(())
            }
        }
    }
}
