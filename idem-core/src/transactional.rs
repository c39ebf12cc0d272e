//! Executions in a transaction: begin → run → commit effects and record → answer.

use std::{error::Error, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Response, StatusCode};
use http_body::Body;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    admission::{Admitted, Verdict},
    attempt::Attempt,
    claiming::refused,
    crash::crash_point,
    endpoint::{Endpoint, Times},
    engine::{Answered, Engine, GuardedRequest},
    error::StoreError,
    handler::{Granted, Handled},
    observe::{Call, Outcome},
    problem::Problem,
    record::{Owner, StoredResponse},
    response::{Captured, capture, is_final, mark_stored},
    running::Executing,
    store::{Begin, Begun, Claimed, Judged, Recover},
    transaction::{Ended, OpenTransaction, Recorded},
};

/// A transaction that was begun for an execution.
struct Won {
    attempt: Attempt,
    transaction: Box<dyn OpenTransaction>,
}

/// How a transaction is to end.
enum Close {
    /// With this record, where there is one.
    Commit(Option<StoredResponse>),
    /// Rolled back, and the answer recorded.
    Reject(StoredResponse),
    RollBack,
}

/// What came of one run of the handler.
enum Ran<B> {
    Over(Outcome, Result<Response<B>, Problem>),
    /// Rolled back: it met another transaction.
    Conflict,
    /// Rolled back: another execution's answer counts.
    Superseded,
}

impl<B> From<Problem> for Ran<B> {
    fn from(problem: Problem) -> Self {
        Self::Over(Outcome::from(&problem), Err(problem))
    }
}

impl Engine {
    /// Begins a transaction if the request's record lets it run, and lets the handler's writes and
    /// the record commit together.
    pub(crate) async fn begin_and_run<B, F, Fut>(
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
        let begin = |deadline| self.begin(&request, deadline);
        let (mut executing, mut won) = match self.admit(&request, begin).await {
            Ok(Admitted::Won(executing, won)) => (executing, won),
            Ok(Admitted::Refused(refused)) => return self.refuse(refused),
            Err(problem) => return problem.into(),
        };
        let waits = request.endpoint.patience(&self.defaults).is_some();
        let mut runs_left = request.endpoint.retries.saturating_add(1);
        loop {
            if runs_left == 0 {
                // Not left to a drop: the client's retry is not to find it open.
                drop(self.store.within(Call::RollBack, won.transaction.roll_back()).await);
                return Problem::TransactionConflict.into();
            }
            crash_point("idem::after-claim");
            runs_left -= 1;
            match self.run_in(won, &request, &executing, &mut execute).await {
                Ran::Over(outcome, answer) => {
                    return Answered { outcome, age: Some(executing.birth.age()), answer };
                }
                Ran::Conflict if runs_left > 0 => sleep(pause()).await,
                Ran::Conflict => {}
                Ran::Superseded => runs_left = 0,
            }
            (executing, won) = match self.begin(&request, Instant::now() + self.store.timeout).await
            {
                Ok(Verdict::Won { won, .. }) => (executing, won),
                // Another process has it meanwhile.
                Ok(Verdict::Refused(Judged { claimed: Claimed::InFlight, .. })) if waits => {
                    drop(executing);
                    match self.admit(&request, begin).await {
                        Ok(Admitted::Won(executing, won)) => (executing, won),
                        Ok(Admitted::Refused(refused)) => return self.refuse(refused),
                        Err(problem) => return problem.into(),
                    }
                }
                Ok(Verdict::Refused(refused)) => {
                    if let Claimed::Completed(answer) = &refused.claimed {
                        executing.publish(answer);
                    }
                    return self.refuse(refused);
                }
                Err(problem) => return problem.into(),
            };
        }
    }

    async fn begin(
        &self,
        request: &GuardedRequest,
        deadline: Instant,
    ) -> Result<Verdict<Won>, Problem> {
        let begin = Begin {
            owner: Owner::draw(request.id.clone()),
            fingerprint: request.fingerprint,
            settings: request.endpoint.transaction(&self.defaults),
        };
        match self.store.until(deadline, Call::Begin, self.store.store.begin(&begin)).await {
            Ok(Begun::Won { fence, number, after, age, transaction }) => {
                let attempt = Attempt::new(request.id.clone(), fence, number);
                Ok(Verdict::Won { won: Won { attempt, transaction }, after, age })
            }
            Ok(Begun::Refused(refused)) => Ok(Verdict::Refused(refused)),
            Err(error) => Err(refused(request.id.operation(), &error)),
        }
    }

    async fn run_in<B, F, Fut>(
        &self,
        won: Won,
        request: &GuardedRequest,
        executing: &Executing,
        execute: &mut F,
    ) -> Ran<B>
    where
        B: Body<Data = Bytes> + From<Bytes> + Send + 'static,
        F: FnMut(Granted) -> Fut,
        Fut: Future<Output = Handled<B>>,
    {
        let Won { attempt, mut transaction } = won;
        let (endpoint, operation) = (request.endpoint, request.id.operation());
        let granted = Granted::transaction_of(Some(attempt), transaction.lend());
        let work = async {
            match execute(granted).await {
                Handled::Answered(it) => Some(capture(it, endpoint, &self.defaults).await),
                Handled::Conflict => None,
            }
        };
        let worked = AssertUnwindSafe(work).catch_unwind().await;
        crash_point("idem::after-handler");
        let (close, ran) = match worked {
            Ok(Some(Captured::Final(record, response))) => {
                let close = if commits(response.status(), endpoint) {
                    Close::Commit(Some(record))
                } else {
                    Close::Reject(record)
                };
                (close, Ran::Over(Outcome::Executed, Ok(response)))
            }
            Ok(Some(Captured::NotFinal(response))) => {
                (Close::RollBack, Ran::Over(Outcome::NotFinal, Ok(response)))
            }
            Ok(Some(Captured::BrokeOff(_))) => {
                tracing::error!(operation, "a response body broke off while it was read");
                (Close::RollBack, Problem::NotCommitted.into())
            }
            Ok(None) => (Close::RollBack, Ran::Conflict),
            Err(_) => (Close::RollBack, panicked(operation).into()),
        };
        let ttl = Times::of(endpoint, &self.defaults).ttl;
        let ran = self.close(transaction, close, ttl, ran, operation, Some(executing)).await;
        crash_point("idem::after-commit");
        ran
    }

    /// Runs a handler that takes a transaction and needs no record.
    pub(crate) async fn run_in_unguarded<B, F, Fut>(
        self: Arc<Self>,
        endpoint: &'static Endpoint,
        operation: &str,
        mut execute: F,
    ) -> Result<Response<B>, Problem>
    where
        F: FnMut(Granted) -> Fut,
        Fut: Future<Output = Handled<B>>,
    {
        let mut runs_left = endpoint.retries.saturating_add(1);
        loop {
            runs_left -= 1;
            match self.run_once_unguarded(endpoint, operation, &mut execute).await? {
                Ran::Over(_, answer) => return answer,
                Ran::Conflict | Ran::Superseded if runs_left > 0 => sleep(pause()).await,
                Ran::Conflict | Ran::Superseded => return Err(Problem::TransactionConflict),
            }
        }
    }

    async fn run_once_unguarded<B, F, Fut>(
        &self,
        endpoint: &Endpoint,
        operation: &str,
        execute: &mut F,
    ) -> Result<Ran<B>, Problem>
    where
        F: FnMut(Granted) -> Fut,
        Fut: Future<Output = Handled<B>>,
    {
        let settings = endpoint.transaction(&self.defaults);
        let beginning = self.store.store.begin_unguarded(&settings);
        let begun = self.store.within(Call::BeginUnguarded, beginning).await;
        let mut transaction = begun.map_err(|error| refused(operation, &error))?;
        let granted = Granted::transaction_of(None, transaction.lend());
        let worked = AssertUnwindSafe(async { execute(granted).await }).catch_unwind().await;
        let (close, ran) = match worked {
            Ok(Handled::Answered(response)) => {
                let is_final = is_final(&response, endpoint, &self.defaults);
                let is_kept = is_final && commits(response.status(), endpoint);
                let close = if is_kept { Close::Commit(None) } else { Close::RollBack };
                (close, Ran::Over(Outcome::Unguarded, Ok(response)))
            }
            Ok(Handled::Conflict) => (Close::RollBack, Ran::Conflict),
            Err(_) => (Close::RollBack, panicked(operation).into()),
        };
        Ok(self.close(transaction, close, Duration::ZERO, ran, operation, None).await)
    }

    /// Ends the transaction, and says what its end makes of the handler's answer.
    async fn close<B>(
        &self,
        transaction: Box<dyn OpenTransaction>,
        close: Close,
        ttl: Duration,
        mut ran: Ran<B>,
        operation: &str,
        executing: Option<&Executing>,
    ) -> Ran<B> {
        let has_key = !matches!(close, Close::Commit(None));
        let ended = match &close {
            Close::Commit(record) => {
                let record = record.as_ref().map(|response| Recorded { response, ttl });
                self.store.within(Call::Commit, transaction.commit(record)).await
            }
            Close::Reject(response) => {
                let rejecting = transaction.reject(Recorded { response, ttl });
                self.store.within(Call::Reject, rejecting).await
            }
            Close::RollBack => self.store.within(Call::RollBack, transaction.roll_back()).await,
        };
        match ended {
            Ok(Ended::Done) => {
                let (Close::Commit(Some(record)) | Close::Reject(record)) = close else {
                    return ran;
                };
                if let Some(executing) = executing {
                    executing.publish(&record);
                }
                if let Ran::Over(_, Ok(response)) = &mut ran {
                    mark_stored(response, record.body.is_some(), &self.defaults);
                }
                ran
            }
            Ok(Ended::Superseded) => Ran::Superseded,
            Ok(Ended::Conflict) => Ran::Conflict,
            Ok(Ended::Escaped) => {
                tracing::error!(
                    operation,
                    "a handler let its `Tx` outlive it: nothing was committed; do not move it into \
                     a task, a stream or a static"
                );
                Problem::TransactionEscaped.into()
            }
            Ok(Ended::EndedByHandler) => {
                tracing::error!(
                    operation,
                    "a handler ended its transaction itself: no record was written; leave `COMMIT` \
                     and `ROLLBACK` to its answer"
                );
                Problem::TransactionEnded.into()
            }
            Ok(Ended::Refused(error)) => {
                tracing::error!(operation, error = &*error as &dyn Error, "nothing was committed");
                Problem::NotCommitted.into()
            }
            Ok(Ended::Unknown) => commit_unknown(operation, has_key),
            // A database that fails meanwhile rolls back, too.
            Err(_) if matches!(close, Close::RollBack) => ran,
            Err(StoreError::Timeout(_)) if matches!(close, Close::Commit(_)) => {
                commit_unknown(operation, has_key)
            }
            Err(error) => {
                let error = &error as &dyn Error;
                tracing::error!(
                    operation,
                    error,
                    "the database failed: an execution was rolled back"
                );
                Problem::StoreUnavailable.into()
            }
        }
    }
}

/// Whether a final answer commits what the handler wrote.
fn commits(status: StatusCode, endpoint: &Endpoint) -> bool {
    status.as_u16() < 400 || endpoint.commit_on_error
}

fn commit_unknown<B>(operation: &str, has_key: bool) -> Ran<B> {
    tracing::error!(operation, "the database did not say whether a transaction was committed");
    Problem::CommitUnknown { has_key }.into()
}

fn panicked(operation: &str) -> Problem {
    tracing::error!(operation, "a handler panicked; its transaction is rolled back");
    Problem::HandlerPanicked { recover: Recover::Retry }
}

/// Apart by chance, so that those who met do not meet again.
fn pause() -> Duration {
    let chance = Uuid::new_v4().as_u128() % 20;
    Duration::from_millis(5 + u64::try_from(chance).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use http_body_util::Full;

    use super::*;
    use crate::{
        Claim, Fence, Held, Idem, Judged, NoTransactions, Record, RecordId, Resolution, Store,
        Written,
        test_support::{fingerprint, record_id},
    };

    /// A database that takes connections and never answers.
    #[derive(Debug)]
    struct Silent;

    #[async_trait]
    impl Store for Silent {
        type Database = NoTransactions;

        fn server_timeout(&self) -> Option<Duration> {
            None
        }

        async fn claim(&self, _: &Claim) -> Result<Judged, StoreError> {
            std::future::pending().await
        }

        async fn complete(
            &self,
            _: &Owner,
            _: &StoredResponse,
            _: Duration,
        ) -> Result<Written, StoreError> {
            std::future::pending().await
        }

        async fn fail(&self, _: &Owner, _: Duration) -> Result<Written, StoreError> {
            std::future::pending().await
        }

        async fn hold(&self, _: &Owner) -> Result<Written, StoreError> {
            std::future::pending().await
        }

        async fn renew(&self, _: &Owner, _: Duration) -> Result<Written, StoreError> {
            std::future::pending().await
        }

        async fn release(&self, _: &Owner) -> Result<Written, StoreError> {
            std::future::pending().await
        }

        async fn begin(&self, _: &Begin) -> Result<Begun, StoreError> {
            std::future::pending().await
        }

        async fn get(&self, _: &RecordId) -> Result<Option<Record>, StoreError> {
            std::future::pending().await
        }

        async fn not_in_flight(&self, _: &[RecordId]) -> Result<Vec<RecordId>, StoreError> {
            std::future::pending().await
        }

        async fn held(&self, _: Option<Fence>, _: u32) -> Result<Vec<Held>, StoreError> {
            std::future::pending().await
        }

        async fn resolve(&self, _: &Owner, _: &Resolution) -> Result<Written, StoreError> {
            std::future::pending().await
        }

        async fn sweep(&self, _: u32) -> Result<u64, StoreError> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn duplicates_behind_a_beginning_that_hangs_get_their_503_in_time_too() {
        static ENDPOINT: Endpoint = Endpoint::new().transactional(true);
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let idem = Idem::builder(Silent).build().expect("a valid engine");
        let start = Instant::now();
        let requests = (0..10).map(|_| {
            let request = GuardedRequest {
                id: record_id("k"),
                fingerprint: fingerprint("a"),
                endpoint: &ENDPOINT,
            };
            idem.answer(request, async |_| {
                RUNS.fetch_add(1, Ordering::Relaxed);
                Handled::Answered(Response::new(Full::<Bytes>::default()))
            })
        });
        for answer in futures_util::future::join_all(requests).await {
            assert_eq!(answer.map(|it| it.status()), Err(Problem::StoreUnavailable));
        }
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        assert_eq!(RUNS.load(Ordering::Relaxed), 0);
    }
}
