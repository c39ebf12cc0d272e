//! The engine: claim → run → record → answer.

use std::{
    error::Error, fmt, future::Future, marker::PhantomData, panic::AssertUnwindSafe, sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header::CONNECTION, response::Parts};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use crate::{
    attempt::Attempt,
    builder::Builder,
    endpoint::{Defaults, Endpoint, HOP_BY_HOP, OnStoreError, Times},
    fingerprint::Fingerprint,
    lease::{Lease, TimedStore},
    problem::{Problem, ProblemContext, Renderer},
    record::{Owner, RecordId, StoredResponse},
    running::{Entered, Executing, Running},
    store::{Claim, Claimed, NoTransactions, Recover, Store, StoreError, Written},
};

/// An idempotency engine over a store. One for each application; clones are the same engine.
///
/// `D` is the database whose transactions handlers may take, told by the store.
pub struct Idem<D = NoTransactions> {
    inner: Arc<Inner>,
    database: PhantomData<fn() -> D>,
}

struct Inner {
    store: TimedStore,
    defaults: Defaults,
    renderer: Renderer,
    running: Running,
    tasks: TaskTracker,
    draining: CancellationToken,
}

/// A request that is ready to be claimed.
#[derive(Clone, Debug)]
pub struct GuardedRequest {
    /// Whose key, for which operation.
    pub id: RecordId,
    /// What it asks for.
    pub fingerprint: Fingerprint,
    /// What its endpoint demands.
    pub endpoint: &'static Endpoint,
}

impl<D: 'static> Idem<D> {
    /// Starts an engine over a store.
    pub fn builder(store: impl Store<Database = D>) -> Builder<D> {
        Builder::new(store)
    }
}

impl<D> Idem<D> {
    pub(crate) fn new(store: Arc<dyn Store>, defaults: Defaults, renderer: Renderer) -> Self {
        let store = TimedStore { store, timeout: defaults.store_timeout };
        let inner = Inner {
            store,
            defaults,
            renderer,
            running: Running::default(),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
        };
        Self { inner: Arc::new(inner), database: PhantomData }
    }

    /// Answers a request: executes it if its claim is won, and otherwise replays or refuses.
    ///
    /// The execution runs in a task of its own and goes on when the returned future is dropped.
    /// `execute` gets `None` when the endpoint allowed it to run unguarded while the store is down.
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
        F: FnOnce(Option<Attempt>) -> Fut + Send + 'static,
        Fut: Future<Output = Response<B>> + Send + 'static,
    {
        let recover = request.endpoint.recover;
        let operation = request.id.clone();
        let task = Arc::clone(&self.inner).claim_and_run(request, execute);
        match self.inner.tasks.spawn(task.in_current_span()).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(operation = operation.operation(), %error, "an execution was cut off");
                Err(Problem::HandlerPanicked { recover })
            }
        }
    }

    /// Where an endpoint's key is: its own header, or the engine's.
    pub fn key_header(&self, endpoint: &Endpoint) -> HeaderName {
        endpoint
            .header
            .map_or_else(|| self.inner.defaults.key_header.clone(), HeaderName::from_static)
    }

    /// An endpoint's limit on request bodies; `None` leaves it to the web framework.
    pub fn max_body(&self, endpoint: &Endpoint) -> Option<usize> {
        endpoint.max_body.or(self.inner.defaults.max_body)
    }

    /// The request headers as far as [`render`](Self::render) will need them.
    pub fn headers_for_problems(&self, headers: &HeaderMap) -> HeaderMap {
        if self.inner.renderer.reads_request() { headers.clone() } else { HeaderMap::new() }
    }

    /// Turns a problem into a response.
    pub fn render(&self, problem: &Problem, request_headers: &HeaderMap) -> Response<Bytes> {
        let retry_after = problem.is_transient().then_some(self.inner.defaults.retry_after);
        self.inner.renderer.render(&ProblemContext { problem, request_headers, retry_after })
    }

    /// Waits until every execution has ended and is recorded, and stops the sweeper. Call it after
    /// the server has stopped accepting requests: executions whose clients are gone are still
    /// running then. Put a timeout around it if the process must end in time.
    pub async fn drain(&self) {
        self.inner.draining.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Deletes expired records `every` so often, in small batches, until [`drain`](Self::drain).
    /// Several servers may do so at once. A store error is logged and the next round tries again.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn spawn_sweeper(&self, every: Duration) {
        const BATCH: u32 = 500;
        let inner = Arc::clone(&self.inner);
        let stop = self.inner.draining.clone();
        self.inner.tasks.spawn(async move {
            while stop.run_until_cancelled(sleep(every)).await.is_some() {
                let mut swept = 0;
                loop {
                    match inner.store.within(inner.store.store.sweep(BATCH)).await {
                        Ok(batch) => {
                            swept += batch;
                            if batch < u64::from(BATCH) || stop.is_cancelled() {
                                break;
                            }
                        }
                        Err(error) => {
                            warn_of(&error, "expired records could not be swept");
                            break;
                        }
                    }
                }
                tracing::debug!(swept, "expired records were swept");
            }
        });
    }
}

impl<D> Clone for Idem<D> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), database: PhantomData }
    }
}

impl<D> fmt::Debug for Idem<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idem")
            .field("store", &self.inner.store.store)
            .field("defaults", &self.inner.defaults)
            .finish_non_exhaustive()
    }
}

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

impl Inner {
    async fn claim_and_run<B, F, Fut>(
        self: Arc<Self>,
        request: GuardedRequest,
        execute: F,
    ) -> Result<Response<B>, Problem>
    where
        B: Body<Data = Bytes> + From<Bytes> + Send + 'static,
        F: FnOnce(Option<Attempt>) -> Fut,
        Fut: Future<Output = Response<B>>,
    {
        let operation = request.id.operation();
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
                let lease = Lease::start(self.store.clone(), claim.owner, times.lease);
                let attempt = Attempt::new(request.id.clone(), fence, number);
                let running =
                    Execution { inner: self, request, times, lease, _executing: executing };
                running.run(execute(Some(attempt))).await
            }
            Ok(Claimed::Completed(stored)) => self.replay(operation, stored),
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
    /// land: otherwise it would block its key for a lease, or for good under [`Recover::Hold`].
    async fn take_back(self: Arc<Self>, owner: Owner, sent_at: Instant) {
        let server_timeout = self.store.store.server_timeout().unwrap_or(self.store.timeout);
        let settled_at = sent_at + self.store.timeout + server_timeout;
        let released = self
            .persist("a claim without an answer could not be taken back yet", || {
                self.store.store.release(&owner)
            })
            .await;
        if released.is_some() && Instant::now() < settled_at {
            sleep_until(settled_at).await;
            self.persist("a claim without an answer could not be taken back yet", || {
                self.store.store.release(&owner)
            })
            .await;
        }
    }

    /// Repeats a write until the store answers or the record deadline has passed.
    async fn persist<T, Fut>(&self, failure: &'static str, write: impl Fn() -> Fut) -> Option<T>
    where
        Fut: Future<Output = Result<T, StoreError>>,
    {
        let deadline = Instant::now() + self.defaults.record_deadline;
        let mut pause = Duration::from_millis(50);
        loop {
            match self.store.within(write()).await {
                Ok(value) => return Some(value),
                Err(error) => {
                    warn_of(&error, failure);
                    if Instant::now() + pause >= deadline {
                        return None;
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
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

    fn replay<B: From<Bytes>>(
        &self,
        operation: &str,
        stored: StoredResponse,
    ) -> Result<Response<B>, Problem> {
        let Some(body) = stored.body else {
            return Err(Problem::ResponseNotKept);
        };
        tracing::debug!(operation, status = stored.status.as_u16(), "replayed");
        let mut response = Response::new(B::from(body));
        *response.status_mut() = stored.status;
        response.headers_mut().extend(stored.headers);
        mark(response.headers_mut(), &self.defaults.replayed_header);
        Ok(response)
    }

    fn is_kept(&self, name: &HeaderName, of: &HeaderMap) -> bool {
        let named_by_connection = || {
            let values = of.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
            let mut names = values.flat_map(|value| value.split(','));
            names.any(|it| it.trim().eq_ignore_ascii_case(name.as_str()))
        };
        let defaults = &self.defaults;
        !HOP_BY_HOP.contains(name)
            && !defaults.dropped_headers.contains(name)
            && *name != defaults.replayed_header
            && defaults.stored_header.as_ref() != Some(name)
            && !(of.contains_key(CONNECTION) && named_by_connection())
    }
}

/// An execution that owns its record.
struct Execution {
    inner: Arc<Inner>,
    request: GuardedRequest,
    times: Times,
    lease: Lease,
    /// Other requests see that the record is being executed here.
    _executing: Executing,
}

impl Execution {
    async fn run<B>(
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
        match self.settle(ending).await {
            Settled::Written(Written::Accepted) | Settled::Later => answer,
            // Somebody else's execution gives the answer to this key now.
            Settled::Written(Written::Stale) => Err(Problem::InFlight),
        }
    }

    /// What is recorded of a handler's response, and what its client gets.
    async fn capture<B>(&self, response: Response<B>) -> (Ending, Result<Response<B>, Problem>)
    where
        B: Body<Data = Bytes> + From<Bytes>,
    {
        let Inner { defaults, .. } = &*self.inner;
        let endpoint = self.request.endpoint;
        let keep = endpoint.keep.as_ref().unwrap_or(&defaults.keep);
        if !keep.is_final(response.status()) {
            return (Ending::Failed, Ok(response));
        }
        let max_response = endpoint.max_response.unwrap_or(defaults.max_response);
        let (mut parts, body) = response.into_parts();
        let mut stored = self.stored(&parts);
        if let Some(marker) = &defaults.stored_header {
            mark(&mut parts.headers, marker);
        }
        let fits = |size| usize::try_from(size).is_ok_and(|size| size <= max_response);
        if !body.size_hint().exact().is_some_and(fits) {
            return (Ending::Completed(stored), Ok(Response::from_parts(parts, body)));
        }
        let Ok(body) = body.collect().await else {
            let operation = self.request.id.operation();
            tracing::error!(operation, "a response body broke off while it was read");
            return (Ending::Completed(stored), Err(Problem::ResponseNotKept));
        };
        let body = body.to_bytes();
        stored.body = Some(body.clone());
        (Ending::Completed(stored), Ok(Response::from_parts(parts, B::from(body))))
    }

    fn stored(&self, parts: &Parts) -> StoredResponse {
        let headers = parts
            .headers
            .iter()
            .filter(|(name, _)| self.inner.is_kept(name, &parts.headers))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        StoredResponse { status: parts.status, headers, body: None }
    }

    /// Writes the ending down. While the store is down, goes on in the background, with the lease
    /// kept, and lets the client go.
    async fn settle(self, ending: Ending) -> Settled {
        let first = self.inner.store.within(self.write(&ending)).await;
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
        let tasks = self.inner.tasks.clone();
        let persist = async move {
            let write = || self.write(&ending);
            let written = self.inner.persist("an execution could not be recorded yet", write).await;
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
        let (store, owner) = (&self.inner.store.store, &self.lease.owner);
        match ending {
            Ending::Completed(response) => store.complete(owner, response, self.times.ttl).await,
            Ending::Failed => store.fail(owner, self.times.failed_ttl).await,
            Ending::Held => store.hold(owner).await,
        }
    }
}

fn mark(headers: &mut HeaderMap, marker: &HeaderName) {
    headers.insert(marker, HeaderValue::from_static("true"));
}

fn warn_of(error: &StoreError, message: &'static str) {
    tracing::warn!(error = error as &dyn Error, "{message}");
}
