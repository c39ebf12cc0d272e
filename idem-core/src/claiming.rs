//! Claims: key → run it, replay it, refuse it.

use std::{error::Error, future::Future, sync::Arc, time::Duration};

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
    store::{Claim, Claimed, Recover, StoreError, Written},
};

/// How long a claim that nobody ends stays visible at least: an execution that cannot reach the
/// store to renew its lease must not be swept away meanwhile, however short its ttl.
const ABANDONED: Duration = Duration::from_hours(24);

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
            ttl: times.ttl.max(ABANDONED),
        };
        match self.claim(&claim, deadline).await {
            Ok((Claimed::Won { fence, number }, asked_at)) => {
                let executing = gate.execute(request.fingerprint);
                let attempt = Attempt::new(request.id.clone(), fence, number);
                let execution = Execution::new(self, request, claim.owner, asked_at, executing);
                execution.run(async { execute(Some(attempt)).await }).await
            }
            Ok((Claimed::Completed(stored), _)) => {
                tracing::debug!(operation = request.id.operation(), "replayed");
                replay(stored, &self.defaults)
            }
            Ok((Claimed::Mismatch, _)) => Err(Problem::Mismatch),
            Ok((Claimed::InFlight, _)) => Err(Problem::InFlight),
            Ok((Claimed::Held, _)) => Err(Problem::OutcomeUnknown),
            Err(error) => {
                drop(gate);
                if error.may_have_happened() {
                    self.tasks.spawn(Arc::clone(&self).take_back(claim, sent_at));
                }
                Self::admit_unguarded(&request, &error)?;
                Ok(execute(None).await)
            }
        }
    }

    /// Claims, and makes sure of a lease that is nearly over when the answer comes. Also says when
    /// the lease was asked for.
    async fn claim(
        &self,
        claim: &Claim,
        deadline: Instant,
    ) -> Result<(Claimed, Instant), StoreError> {
        let asked_at = Instant::now();
        let claimed = self.store.until(deadline, self.store.store.claim(claim)).await?;
        if !matches!(claimed, Claimed::Won { .. }) || asked_at.elapsed() < claim.lease / 3 {
            return Ok((claimed, asked_at));
        }
        let asked_at = Instant::now();
        let renewal = self.store.store.renew(&claim.owner, claim.lease);
        match self.store.until(deadline, renewal).await? {
            Written::Accepted => Ok((claimed, asked_at)),
            Written::Stale => Ok((Claimed::InFlight, asked_at)),
        }
    }

    /// Releases a claim that may have landed although its answer never came, until it can no longer
    /// land: otherwise it would block its key for a lease, or for good where lapsed claims are held.
    async fn take_back(self: Arc<Self>, claim: Claim, sent_at: Instant) {
        let server_timeout = self.store.store.server_timeout().unwrap_or(self.store.timeout);
        let settled_at = sent_at + self.store.timeout + server_timeout;
        let give_up_after = match claim.recover {
            // It lapses by itself.
            Recover::Retry => claim.lease.min(self.defaults.record_deadline),
            Recover::Hold => self.defaults.record_deadline,
        };
        let failure = "a claim without an answer could not be taken back yet";
        let release = || self.store.store.release(&claim.owner);
        let released = self.persist(failure, give_up_after, release).await;
        if released.is_some() && Instant::now() < settled_at {
            sleep_until(settled_at).await;
            self.persist(failure, give_up_after, release).await;
        }
    }

    /// The store cannot answer: the endpoint says whether the handler runs all the same.
    fn admit_unguarded(request: &GuardedRequest, error: &StoreError) -> Result<(), Problem> {
        let operation = request.id.operation();
        let (outage, error) = (error.is_outage(), error as &dyn Error);
        match request.endpoint.on_store_error {
            OnStoreError::Refuse => {
                tracing::error!(operation, error, "the store cannot answer: a request was refused");
                Err(Problem::StoreUnavailable)
            }
            OnStoreError::Bypass if !outage => {
                tracing::error!(
                    operation,
                    error,
                    "the record cannot be used: a request was refused"
                );
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
