//! Claims: key → run it, replay it, refuse it.

use std::{error::Error, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body::Body;
use tokio::time::{Instant, sleep_until};

use crate::{
    admission::{Admitted, Verdict},
    attempt::Attempt,
    crash::crash_point,
    endpoint::{OnStoreError, Times},
    engine::{Answered, Engine, GuardedRequest},
    error::StoreError,
    execution::Execution,
    handler::{Granted, Handled},
    observe::{Call, Outcome},
    problem::Problem,
    record::{Fence, Owner},
    response::replay,
    store::{Claim, Claimed, Judged, Recover, Written},
};

/// How long a claim that nobody ends stays visible at least: an execution that cannot reach the
/// store to renew its lease must not be swept away meanwhile, however short its ttl.
const ABANDONED: Duration = Duration::from_hours(24);

/// A claim that was won.
struct Won {
    owner: Owner,
    fence: Fence,
    number: u32,
    /// When its lease was asked for.
    asked_at: Instant,
}

impl Engine {
    /// Claims the request's record and does what the verdict says.
    pub(crate) async fn claim_and_run<B, F, Fut>(
        self: Arc<Self>,
        request: GuardedRequest,
        mut execute: F,
    ) -> Answered<B>
    where
        B: Body<Data = Bytes> + From<Bytes> + Send + 'static,
        F: FnMut(Granted) -> Fut,
        Fut: Future<Output = Handled<B>>,
    {
        crash_point("idem::before-claim");
        let claim = |deadline| self.claim_once(&request, deadline);
        match self.admit(&request, claim).await {
            Ok(Admitted::Won(executing, Won { owner, fence, number, asked_at })) => {
                let attempt = Attempt::new(request.id.clone(), fence, number);
                let execution = Execution::new(self, request, owner, asked_at, executing);
                crash_point("idem::after-claim");
                execution.run(async { execute(Granted::attempt_of(attempt)).await }).await
            }
            Ok(Admitted::Refused(refused)) => self.refuse(refused),
            Err(error) => match Self::admit_unguarded(&request, &error) {
                Ok(()) => {
                    let handler = async { execute(Granted::default()).await };
                    run_unguarded(request.id.operation(), handler).await
                }
                Err(problem) => problem.into(),
            },
        }
    }

    /// Sends one claim. One that may have landed although its answer never came is taken back.
    async fn claim_once(
        self: &Arc<Self>,
        request: &GuardedRequest,
        deadline: Instant,
    ) -> Result<Verdict<Won>, StoreError> {
        let times = Times::of(request.endpoint, &self.defaults);
        let sent_at = Instant::now();
        let claim = Claim {
            owner: Owner::draw(request.id.clone()),
            fingerprint: request.fingerprint,
            recover: request.endpoint.recover,
            lease: times.lease,
            ttl: times.ttl.max(ABANDONED),
        };
        match self.claim(&claim, deadline).await {
            Ok((Judged { claimed: Claimed::Won { fence, number, after }, age, .. }, asked_at)) => {
                let won = Won { owner: claim.owner, fence, number, asked_at };
                Ok(Verdict::Won { won, after, age: age.unwrap_or_default() })
            }
            Ok((refused, _)) => Ok(Verdict::Refused(refused)),
            Err(error) => {
                if error.may_have_happened() {
                    self.tasks.spawn(Arc::clone(self).take_back(claim, sent_at));
                }
                Err(error)
            }
        }
    }

    /// Answers a request that is not to run.
    pub(crate) fn refuse<B: From<Bytes>>(&self, refused: Judged) -> Answered<B> {
        let Judged { claimed, age, .. } = refused;
        let outcome = Outcome::from(&claimed);
        let answer = match claimed {
            Claimed::Completed(stored) => replay(stored, &self.defaults),
            Claimed::Mismatch => Err(Problem::Mismatch),
            Claimed::Held => Err(Problem::OutcomeUnknown),
            Claimed::InFlight | Claimed::Won { .. } => Err(Problem::InFlight),
        };
        Answered { outcome, age, answer }
    }

    /// Claims, and makes sure of a lease that is nearly over when the answer comes. Also says when
    /// the lease was asked for.
    async fn claim(
        &self,
        claim: &Claim,
        deadline: Instant,
    ) -> Result<(Judged, Instant), StoreError> {
        let asked_at = Instant::now();
        let claiming = self.store.store.claim(claim);
        let judged = self.store.until(deadline, Call::Claim, claiming).await?;
        let is_won = matches!(judged.claimed, Claimed::Won { .. });
        if !is_won || asked_at.elapsed() < claim.lease / 3 {
            return Ok((judged, asked_at));
        }
        let asked_at = Instant::now();
        let renewal = self.store.store.renew(&claim.owner, claim.lease);
        match self.store.until(deadline, Call::Renew, renewal).await? {
            Written::Accepted => Ok((judged, asked_at)),
            Written::Stale => Ok((Judged { claimed: Claimed::InFlight, ..judged }, asked_at)),
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
        let released = self.persist(Call::Release, failure, give_up_after, release).await;
        if released.is_some() && Instant::now() < settled_at {
            sleep_until(settled_at).await;
            self.persist(Call::Release, failure, give_up_after, release).await;
        }
    }

    /// The store cannot answer: the endpoint says whether the handler runs all the same.
    fn admit_unguarded(request: &GuardedRequest, error: &StoreError) -> Result<(), Problem> {
        let operation = request.id.operation();
        match request.endpoint.on_store_error {
            OnStoreError::Refuse => Err(refused(operation, error)),
            OnStoreError::Bypass if !error.is_outage() => {
                tracing::error!(
                    operation,
                    error = error as &dyn Error,
                    "the record cannot be used: a request was refused"
                );
                Err(Problem::StoreUnavailable)
            }
            OnStoreError::Bypass => {
                tracing::warn!(
                    operation,
                    error = error as &dyn Error,
                    "the store cannot answer: a request runs unguarded"
                );
                Ok(())
            }
        }
    }
}

/// Runs a handler without a record.
async fn run_unguarded<B>(
    operation: &str,
    handler: impl Future<Output = Handled<B>>,
) -> Answered<B> {
    let ended = AssertUnwindSafe(handler).catch_unwind().await;
    let answer = ended.map_or_else(
        |_| {
            tracing::error!(operation, "an unguarded handler panicked");
            Err(Problem::HandlerPanicked { recover: Recover::Retry })
        },
        Handled::answer,
    );
    Answered { outcome: Outcome::Bypassed, age: None, answer }
}

/// The store cannot answer, and so the handler does not run.
pub(crate) fn refused(operation: &str, error: &StoreError) -> Problem {
    let error = error as &dyn Error;
    tracing::error!(operation, error, "the store cannot answer: a request was refused");
    Problem::StoreUnavailable
}
