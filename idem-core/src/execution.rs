//! Executions: run → record → answer.

use std::{error::Error, future::Future, panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use futures_util::FutureExt;
use http::Response;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    endpoint::Times,
    engine::{Engine, GuardedRequest},
    lease::Lease,
    problem::Problem,
    record::{Owner, StoredResponse},
    response::{mark, stored},
    running::Executing,
    store::{Recover, StoreError, Written},
};

/// How an execution ended, in the store's terms.
enum Ending {
    Completed(StoredResponse),
    Failed,
    Held,
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
    _executing: Executing,
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
        Self { engine, request, times, lease, _executing: executing }
    }

    /// Runs the handler and answers once its outcome is written down.
    pub(crate) async fn run<B>(
        self,
        handler: impl Future<Output = Response<B>>,
    ) -> Result<Response<B>, Problem>
    where
        B: Body<Data = Bytes> + From<Bytes> + Send + 'static,
    {
        let work = async { self.capture(handler.await).await };
        let recover = self.request.endpoint.recover;
        let (ending, answer) = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
            let operation = self.request.id.operation();
            tracing::error!(operation, ?recover, "a handler panicked");
            let ending = match recover {
                Recover::Retry => Ending::Failed,
                Recover::Hold => Ending::Held,
            };
            (ending, Err(Problem::HandlerPanicked { recover }))
        });
        let can_be_replayed = matches!(&ending, Ending::Completed(it) if it.body.is_some());
        let marker = self.engine.defaults.stored_header.clone().filter(|_| can_be_replayed);
        match self.settle(ending).await {
            Settled::Written(Written::Accepted) => answer.map(|mut response| {
                if let Some(marker) = &marker {
                    mark(response.headers_mut(), marker);
                }
                response
            }),
            Settled::Later => answer,
            // Somebody else's execution gives the answer to this key now.
            Settled::Written(Written::Stale) => Err(Problem::InFlight),
        }
    }

    /// What is recorded of a handler's response, and what its client gets.
    async fn capture<B>(&self, response: Response<B>) -> (Ending, Result<Response<B>, Problem>)
    where
        B: Body<Data = Bytes> + From<Bytes>,
    {
        let defaults = &self.engine.defaults;
        let endpoint = self.request.endpoint;
        let keep = endpoint.keep.as_ref().unwrap_or(&defaults.keep);
        if !keep.is_final(response.status()) {
            return (Ending::Failed, Ok(response));
        }
        let max_response = endpoint.max_response.unwrap_or(defaults.max_response);
        let (parts, body) = response.into_parts();
        let mut record = stored(&parts, defaults);
        let fits = |size| usize::try_from(size).is_ok_and(|size| size <= max_response);
        if !body.size_hint().exact().is_some_and(fits) {
            return (Ending::Completed(record), Ok(Response::from_parts(parts, body)));
        }
        let Ok(body) = body.collect().await else {
            let operation = self.request.id.operation();
            tracing::error!(operation, "a response body broke off while it was read");
            return (Ending::Completed(record), Err(Problem::ResponseNotKept));
        };
        let body = body.to_bytes();
        record.body = Some(body.clone());
        (Ending::Completed(record), Ok(Response::from_parts(parts, B::from(body))))
    }

    /// Writes the ending down. While the store is down, goes on in the background, with the lease
    /// kept, and lets the client go.
    async fn settle(self, ending: Ending) -> Settled {
        let first = self.engine.store.within(self.write(&ending)).await;
        let error = match first {
            Ok(written) => {
                if written == Written::Stale {
                    let operation = self.request.id.operation();
                    tracing::error!(
                        operation,
                        "an execution ended after another one had taken over"
                    );
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
                .persist("an execution could not be recorded yet", deadline, write)
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
