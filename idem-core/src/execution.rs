//! Executions: run → record → answer.

use std::{error::Error, future::Future, panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use futures_util::FutureExt;
use http::Response;
use http_body::Body;
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    crash::crash_point,
    endpoint::Times,
    engine::{Answered, Engine, GuardedRequest},
    error::StoreError,
    handler::Handled,
    lease::Lease,
    observe::{Call, Outcome},
    problem::Problem,
    record::{Owner, StoredResponse},
    response::{Captured, capture, mark_stored},
    running::Executing,
    store::{Recover, Written},
};

/// How an execution ended, in the store's terms.
enum Ending {
    Completed(StoredResponse),
    Failed,
    Held,
}

impl Ending {
    const fn call(&self) -> Call {
        match self {
            Self::Completed(_) => Call::Complete,
            Self::Failed => Call::Fail,
            Self::Held => Call::Hold,
        }
    }
}

/// What became of the attempt to write an ending down.
enum Settled {
    Written(Written),
    /// Not yet: it goes on in the background.
    Later,
}

/// An execution that owns its record.
pub(crate) struct Execution {
    engine: Arc<Engine>,
    request: GuardedRequest,
    times: Times,
    lease: Lease,
    /// Other requests see that the record is being executed here.
    executing: Executing,
}

impl Execution {
    /// Holds the claim that was won, and asked for at that time, until the execution is written down.
    pub(crate) fn new(
        engine: Arc<Engine>,
        request: GuardedRequest,
        owner: Owner,
        asked_at: Instant,
        executing: Executing,
    ) -> Self {
        let times = Times::of(request.endpoint, &engine.defaults);
        let lease = Lease::start(engine.store.clone(), owner, times.lease, asked_at);
        Self { engine, request, times, lease, executing }
    }

    /// Runs the handler and answers once its outcome is written down.
    pub(crate) async fn run<B>(self, handler: impl Future<Output = Handled<B>>) -> Answered<B>
    where
        B: Body<Data = Bytes> + From<Bytes> + Send + 'static,
    {
        let work = AssertUnwindSafe(self.work(handler)).catch_unwind().await;
        let (ending, answer) = work.unwrap_or_else(|_| {
            let recover = self.request.endpoint.recover;
            let operation = self.request.id.operation();
            tracing::error!(operation, ?recover, "a handler panicked");
            let ending = match recover {
                Recover::Retry => Ending::Failed,
                Recover::Hold => Ending::Held,
            };
            (ending, Err(Problem::HandlerPanicked { recover }))
        });
        crash_point("idem::after-handler");
        let can_be_replayed = matches!(&ending, Ending::Completed(it) if it.body.is_some());
        let outcome = match (&ending, &answer) {
            (_, Err(problem)) => Outcome::from(problem),
            (Ending::Completed(_), Ok(_)) => Outcome::Executed,
            (Ending::Failed | Ending::Held, Ok(_)) => Outcome::NotFinal,
        };
        let (engine, birth) = (Arc::clone(&self.engine), self.executing.birth);
        let settled = self.settle(ending).await;
        crash_point("idem::after-record");
        let (outcome, answer) = match settled {
            Settled::Written(Written::Accepted) => {
                let marked = answer.map(|mut response| {
                    mark_stored(&mut response, can_be_replayed, &engine.defaults);
                    response
                });
                (outcome, marked)
            }
            Settled::Later => (outcome, answer),
            // Somebody else's execution gives the answer to this key now.
            Settled::Written(Written::Stale) => (Outcome::Superseded, Err(Problem::InFlight)),
        };
        Answered { outcome, age: Some(birth.age()), answer }
    }

    /// Runs the handler; says what is to be recorded, and what its client gets.
    async fn work<B>(
        &self,
        handler: impl Future<Output = Handled<B>>,
    ) -> (Ending, Result<Response<B>, Problem>)
    where
        B: Body<Data = Bytes> + From<Bytes>,
    {
        let response = match handler.await {
            Handled::Answered(response) => response,
            Handled::Conflict => return (Ending::Failed, Err(Problem::TransactionConflict)),
        };
        match capture(response, self.request.endpoint, &self.engine.defaults).await {
            Captured::Final(record, response) => (Ending::Completed(record), Ok(response)),
            Captured::NotFinal(response) => (Ending::Failed, Ok(response)),
            Captured::BrokeOff(record) => {
                let operation = self.request.id.operation();
                tracing::error!(operation, "a response body broke off while it was read");
                (Ending::Completed(record), Err(Problem::ResponseNotKept))
            }
        }
    }

    /// Writes the ending down. While the store is down, goes on in the background, with the lease
    /// kept, and lets the client go.
    async fn settle(self, ending: Ending) -> Settled {
        let first = self.engine.store.within(ending.call(), self.write(&ending)).await;
        let error = match first {
            Ok(written) => {
                if written == Written::Stale {
                    let operation = self.request.id.operation();
                    tracing::error!(
                        operation,
                        "an execution ended after another one had taken over"
                    );
                }
                if let (Written::Accepted, Ending::Completed(answer)) = (written, &ending) {
                    self.executing.publish(answer);
                }
                return Settled::Written(written);
            }
            Err(error) => error,
        };
        let operation = self.request.id.operation();
        tracing::error!(
            operation,
            error = &error as &dyn Error,
            "an execution could not be recorded yet"
        );
        let tasks = self.engine.tasks.clone();
        let deadline = self.engine.defaults.record_deadline;
        let persist = async move {
            let write = || self.write(&ending);
            let written = self
                .engine
                .persist(ending.call(), "an execution could not be recorded yet", deadline, write)
                .await;
            let operation = self.request.id.operation();
            match written {
                Some(Written::Accepted) => {
                    tracing::info!(operation, "an execution was recorded late");
                }
                Some(Written::Stale) => {
                    tracing::error!(
                        operation,
                        "an execution was not recorded: another one took over"
                    );
                }
                None => tracing::error!(
                    operation,
                    "an execution was not recorded: the store stayed down"
                ),
            }
        };
        tasks.spawn(persist.in_current_span());
        Settled::Later
    }

    async fn write(&self, ending: &Ending) -> Result<Written, StoreError> {
        let (store, owner) = (&self.engine.store.store, &self.lease.owner);
        match ending {
            Ending::Completed(response) => store.complete(owner, response, self.times.ttl).await,
            Ending::Failed => store.fail(owner, self.times.failed_ttl).await,
            Ending::Held => store.hold(owner).await,
        }
    }
}
