//! The engine as applications hold it.

use std::{fmt, future::Future, marker::PhantomData, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response};
use http_body::Body;
use tokio::time::sleep;
use tracing::Instrument;

use crate::{
    endpoint::Endpoint,
    engine::{Answered, Engine, GuardedRequest},
    error::StoreError,
    handler::{Granted, Handled},
    held::{Outcome, Reconciler, ResolveError},
    observe::{self, Call, UNKNOWN_OPERATION},
    problem::{Problem, ProblemContext},
    record::{Fence, Held, RecordId},
    store::{Health, NoTransactions, Recover},
};

/// An idempotency engine over a store. One for each application; clones are the same engine.
///
/// `D` names the store's database, as the store tells it.
pub struct Idem<D = NoTransactions> {
    engine: Arc<Engine>,
    database: PhantomData<fn() -> D>,
}

impl<D> Idem<D> {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine: Arc::new(engine), database: PhantomData }
    }

    /// Answers a request: executes it if its claim is won, and otherwise replays or refuses.
    ///
    /// The execution runs in a task of its own and goes on when the returned future is dropped.
    /// `execute` gets no attempt when the endpoint allowed it to run unguarded while the store is
    /// down. It is called again only where the endpoint allows [`retries`](Endpoint::retries).
    ///
    /// # Errors
    ///
    /// The [`Problem`] to [`render`](Self::render) when there is neither an execution's answer nor
    /// a replay.
    pub async fn answer<B, F, Fut>(
        &self,
        request: GuardedRequest,
        execute: F,
    ) -> Result<Response<B>, Problem>
    where
        B: Body<Data = Bytes> + From<Bytes> + Send + 'static,
        F: FnMut(Granted) -> Fut + Send + 'static,
        Fut: Future<Output = Handled<B>> + Send + 'static,
    {
        let id = request.id.clone();
        let engine = Arc::clone(&self.engine);
        if request.endpoint.is_transactional() {
            let answered = engine.begin_and_run(request, execute);
            self.spawn(id.operation(), observed(id.clone(), answered)).await
        } else {
            let answered = engine.claim_and_run(request, execute);
            self.spawn(id.operation(), observed(id.clone(), answered)).await
        }
    }

    /// Answers a request that has no key and needs none: in the caller's own task, or in a
    /// transaction and a task of its own if its handler takes one. `operation` is for the log, if
    /// it is known.
    ///
    /// # Errors
    ///
    /// The [`Problem`] to [`render`](Self::render) when there is no answer.
    pub async fn answer_unguarded<B, F, Fut>(
        &self,
        endpoint: &'static Endpoint,
        operation: Option<String>,
        mut execute: F,
    ) -> Result<Response<B>, Problem>
    where
        B: Send + 'static,
        F: FnMut(Granted) -> Fut + Send + 'static,
        Fut: Future<Output = Handled<B>> + Send + 'static,
    {
        observe::passed(operation.as_deref(), observe::Outcome::Unguarded);
        if endpoint.is_transactional() {
            let engine = Arc::clone(&self.engine);
            let operation: Arc<str> = operation.as_deref().unwrap_or(UNKNOWN_OPERATION).into();
            let task = {
                let operation = Arc::clone(&operation);
                async move { engine.run_in_unguarded(endpoint, &operation, execute).await }
            };
            self.spawn(&operation, task).await
        } else {
            execute(Granted::default()).await.answer()
        }
    }

    /// Runs in a task that nobody can drop, and that [`drain`](Self::drain) waits for.
    async fn spawn<T: Send + 'static>(
        &self,
        operation: &str,
        task: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        self.engine.tasks.spawn(task.in_current_span()).await.unwrap_or_else(|error| {
            // A guarded handler's panic was caught; what it said may be about the request.
            let panicked = error.is_panic();
            tracing::error!(operation, panicked, "an unguarded execution was cut off");
            Err(Problem::HandlerPanicked { recover: Recover::Retry })
        })
    }

    /// Where an endpoint's key is: its own header, or the engine's.
    pub fn key_header(&self, endpoint: &Endpoint) -> HeaderName {
        endpoint
            .header
            .map_or_else(|| self.engine.defaults.key_header.clone(), HeaderName::from_static)
    }

    /// An endpoint's limit on request bodies; `None` leaves it to the web framework.
    pub fn max_body(&self, endpoint: &Endpoint) -> Option<usize> {
        endpoint.max_body.or(self.engine.defaults.max_body)
    }

    /// The request headers as far as [`render`](Self::render) will need them.
    pub fn headers_for_problems(&self, headers: &HeaderMap) -> HeaderMap {
        if self.engine.renderer.reads_request() { headers.clone() } else { HeaderMap::new() }
    }

    /// Turns a problem into a response, of a request that is refused before its
    /// [`answer`](Self::answer) could be asked for. `operation` is for those who observe it, if it
    /// is known.
    pub fn reject(
        &self,
        problem: &Problem,
        operation: Option<&str>,
        request_headers: &HeaderMap,
    ) -> Response<Bytes> {
        observe::passed(operation, observe::Outcome::from(problem));
        self.render(problem, request_headers)
    }

    /// Turns a problem into a response.
    pub fn render(&self, problem: &Problem, request_headers: &HeaderMap) -> Response<Bytes> {
        let retry_after = problem.is_transient().then_some(self.engine.defaults.retry_after);
        self.engine.renderer.render(&ProblemContext { problem, request_headers, retry_after })
    }

    /// Says whether the store works, for a readiness probe: a server whose store does not work refuses
    /// every guarded request. Asks the store.
    ///
    /// # Errors
    ///
    /// Why the store does not work, [`StoreError::Timeout`] after the store timeout at the latest.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// use http::StatusCode;
    /// use idem_core::{Idem, MemoryStore};
    ///
    /// async fn ready(idem: Idem) -> StatusCode {
    ///     match idem.health().await {
    ///         Ok(_) => StatusCode::OK,
    ///         Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    ///     }
    /// }
    /// # let idem = Idem::builder(MemoryStore::new()).build().unwrap();
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// assert_eq!(ready(idem).await, StatusCode::OK);
    /// # });
    /// # }
    /// ```
    pub async fn health(&self) -> Result<Health, StoreError> {
        self.engine.store.within(Call::Health, self.engine.store.store.health()).await
    }

    /// Lists up to `limit` held records, the oldest claim first; fewer when there are no more.
    /// `after` is the fence of the last one that was seen, `None` for the first page. What this
    /// process is executing is not held, even when its lease could not be renewed.
    ///
    /// # Errors
    ///
    /// Those of the store, and [`StoreError::Timeout`] after the store timeout.
    pub async fn held(&self, after: Option<Fence>, limit: u32) -> Result<Vec<Held>, StoreError> {
        self.engine.held(after, limit).await
    }

    /// Ends a held record as [`held`](Self::held) listed it. Retries get the answer of a completed
    /// one for the engine's ttl; a failed one is remembered for the engine's `failed_ttl`. The same
    /// decision may be sent again, until a retry executes.
    ///
    /// A decision is final. If the execution lives after all, in a process that could not reach the
    /// store, what it does is done, and its client gets a 409.
    ///
    /// # Errors
    ///
    /// [`ResolveError::Changed`] when the record is no longer held under the attempt that was
    /// listed, and [`ResolveError::Store`] when the store could not answer in time.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// # use idem_core::{Idem, MemoryStore, Outcome, ResolveError};
    /// # async fn example(idem: Idem) -> Result<(), Box<dyn std::error::Error>> {
    /// for held in idem.held(None, 100).await? {
    ///     println!("{}, key {}, for {:?}", held.id.operation(), held.id.key(), held.held_for);
    ///     match idem.resolve(&held, Outcome::Failed).await {
    ///         Ok(()) | Err(ResolveError::Changed) => {}
    ///         Err(error) => return Err(error.into()),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// # }
    /// ```
    pub async fn resolve(&self, held: &Held, outcome: Outcome) -> Result<(), ResolveError> {
        self.engine.resolve(held, outcome).await
    }

    /// Waits until every execution has ended and is recorded, or given up after the record deadline, and
    /// stops the sweeper, the reconciler, and listening to the store. Call it after
    /// the server has stopped accepting requests: executions whose clients are gone are still
    /// running then. Put a timeout around it if the process must end in time.
    pub async fn drain(&self) {
        self.engine.draining.cancel();
        self.engine.tasks.close();
        self.engine.tasks.wait().await;
    }

    /// Deletes expired records `every` so often, until [`drain`](Self::drain). Several servers may do
    /// so at once. Less than a second counts as a second. A store error is logged and the next round
    /// tries again.
    ///
    /// It takes at most a fifth of the time of one connection: after each batch it rests four times as
    /// long as the batch took. A batch has as many records, 10 to 1,000, as the store deletes in some
    /// 50 milliseconds. Where more has expired than a round can delete before the next one is due, that
    /// follows at once, and an event says so.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn spawn_sweeper(&self, every: Duration) {
        let engine = Arc::clone(&self.engine);
        self.engine.tasks.spawn(engine.sweep(every.max(Duration::from_secs(1))));
    }

    /// Asks a reconciler about every held record `every` so often, and resolves those whose outcome
    /// it knows, until [`drain`](Self::drain). Several servers may do so at once. Less than a
    /// second counts as a second.
    ///
    /// An error or a panic of the reconciler is logged with the operation alone, and stops neither
    /// the other records nor the next round. Nor does a store error.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn spawn_reconciler(&self, every: Duration, reconciler: impl Reconciler) {
        let engine = Arc::clone(&self.engine);
        let stop = self.engine.draining.clone();
        self.engine.tasks.spawn(async move {
            while stop.run_until_cancelled(sleep(every.max(Duration::from_secs(1)))).await.is_some()
            {
                engine.reconcile(&reconciler).await;
            }
        });
    }
}

/// The answer, seen by operators although its client may be gone.
async fn observed<B>(
    id: RecordId,
    answered: impl Future<Output = Answered<B>>,
) -> Result<Response<B>, Problem> {
    let Answered { outcome, age, answer } = answered.await;
    observe::answered(&id, outcome, age);
    answer
}

impl<D> Clone for Idem<D> {
    fn clone(&self) -> Self {
        Self { engine: Arc::clone(&self.engine), database: PhantomData }
    }
}

impl<D> fmt::Debug for Idem<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Idem").field(&self.engine).finish()
    }
}
