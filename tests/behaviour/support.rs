//! An application to test, and a store whose answers can be tampered with on their way.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, Request, StatusCode, request::Parts},
    response::Response,
};
use idem::{
    Announced, Announcements, Announcer, Builder, Claim, Fence, Held, Idem, Judged, MemoryStore,
    NoTransactions, Owner, Record, RecordId, Resolution, Scope, Store, StoreError, StoredResponse,
    Written,
};
use tokio::time::Instant;
use tower::ServiceExt;

/// The state of an application under test.
#[derive(Clone, FromRef)]
pub(crate) struct App {
    pub(crate) idem: Idem,
    pub(crate) runs: Runs,
}

/// Counts executions.
#[derive(Clone, Default)]
pub(crate) struct Runs(Arc<AtomicU32>);

impl Runs {
    /// Counts one more and says which it is.
    pub(crate) fn add(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Whoever the `user` header names.
#[derive(Scope)]
pub(crate) struct User(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let user = parts.headers.get("user").ok_or(StatusCode::UNAUTHORIZED)?;
        Ok(Self(user.to_str().map_err(|_| StatusCode::UNAUTHORIZED)?.to_owned()))
    }
}

/// A running application with its store at hand.
pub(crate) struct Server {
    pub(crate) router: Router,
    pub(crate) idem: Idem,
    pub(crate) runs: Runs,
    pub(crate) store: Rigged,
}

impl Server {
    pub(crate) fn new(routes: Router<App>) -> Self {
        Self::with(routes, |builder| builder)
    }

    pub(crate) fn with(
        routes: Router<App>,
        configure: impl FnOnce(Builder<NoTransactions>) -> Builder<NoTransactions>,
    ) -> Self {
        let store = Rigged::default();
        let idem = configure(Idem::builder(store.clone())).build().unwrap();
        let app = App { idem: idem.clone(), runs: Runs::default() };
        Self { router: routes.with_state(app.clone()), idem, runs: app.runs, store }
    }

    /// Sends a request; a call without further settings is `POST /` by ann with the key `k`.
    pub(crate) fn send(&self, call: Call) -> impl Future<Output = Answer> + Send + 'static {
        let (router, request) = (self.router.clone(), call.into_request());
        async move { Answer::of(router.oneshot(request).await.unwrap()).await }
    }
}

pub(crate) struct Call {
    method: &'static str,
    uri: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Body,
}

pub(crate) fn post(uri: &str) -> Call {
    Call { method: "POST", uri: uri.to_owned(), headers: Vec::new(), body: Body::empty() }
        .header("user", "ann")
}

impl Call {
    pub(crate) fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub(crate) fn key(self, key: impl AsRef<[u8]>) -> Self {
        self.header("idempotency-key", key)
    }

    pub(crate) fn user(mut self, user: &str) -> Self {
        self.headers.retain(|(name, _)| name != "user");
        self.header("user", user)
    }

    pub(crate) fn anonymous(mut self) -> Self {
        self.headers.retain(|(name, _)| name != "user");
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn json(self, body: &str) -> Self {
        self.header("content-type", "application/json").body(body.to_owned())
    }

    pub(crate) fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    fn into_request(self) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri(self.uri);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(self.body).unwrap()
    }
}

/// A response, read to its end.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn is_replay(&self) -> bool {
        self.header("idempotency-replayed") == Some("true")
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The name of the problem that the answer is.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(body["status"], self.status);
        let uri = body["type"].as_str().unwrap();
        uri.strip_prefix("urn:problem-type:idem:").unwrap().to_owned()
    }
}

/// What happens to an operation on its way to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It never arrives, and the caller learns so at once.
    Refused,
    /// The store answers that it cannot read the record.
    Damaged,
    /// It never arrives, and no answer ever comes.
    Swallowed,
    /// It happens, and no answer ever comes.
    AnswerLost,
    /// It happens, and the answer comes after this long.
    AnswerLate(Duration),
}

/// The memory store behind a line that can fail. Counts what arrives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rigged {
    pub(crate) memory: MemoryStore,
    faults: Arc<Mutex<HashMap<&'static str, Fault>>>,
    arrived: Arc<Mutex<HashMap<&'static str, u32>>>,
    announcer: Arc<OnceLock<Announcer>>,
    sweeps: Arc<Mutex<Vec<Sweep>>>,
    /// How long a sweep takes for each record that it deletes.
    sweeping_takes: Arc<Mutex<Duration>>,
}

/// One batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sweep {
    pub(crate) limit: u32,
    pub(crate) begun: Instant,
    pub(crate) took: Duration,
}

impl Rigged {
    /// From now on a sweep takes so long for each record.
    pub(crate) fn sweeping_takes(&self, each: Duration) {
        *self.sweeping_takes.lock().unwrap() = each;
    }

    /// The batches that were swept.
    pub(crate) fn sweeps(&self) -> Vec<Sweep> {
        self.sweeps.lock().unwrap().clone()
    }

    pub(crate) fn fault(&self, operation: &'static str, fault: Fault) {
        self.faults.lock().unwrap().insert(operation, fault);
    }

    pub(crate) fn repair(&self) {
        self.faults.lock().unwrap().clear();
    }

    /// How often an operation reached the store.
    pub(crate) fn arrived(&self, operation: &'static str) -> u32 {
        self.arrived.lock().unwrap().get(operation).copied().unwrap_or_default()
    }

    /// From now on it announces endings, unless the operation `announce` has a fault.
    pub(crate) fn announces(&self) -> &Announcer {
        self.announcer.get_or_init(Announcer::new)
    }

    /// The write of an ending, and its announcement.
    async fn ending(
        &self,
        operation: &'static str,
        owner: &Owner,
        write: impl Future<Output = Result<Written, StoreError>> + Send,
    ) -> Result<Written, StoreError> {
        let written = self.line(operation, write).await?;
        let is_told =
            written == Written::Accepted && !self.faults.lock().unwrap().contains_key("announce");
        if let (Some(announcer), true) = (self.announcer.get(), is_told) {
            announcer.announce(Announced::Ended(*owner.id.digest()));
        }
        Ok(written)
    }

    async fn line<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let fault = self.faults.lock().unwrap().get(operation).copied();
        match fault {
            Some(Fault::Refused) => return Err(StoreError::unavailable("the line is cut")),
            Some(Fault::Damaged) => return Err(StoreError::Damaged("as the test wants it")),
            Some(Fault::Swallowed) => return std::future::pending().await,
            Some(Fault::AnswerLost | Fault::AnswerLate(_)) | None => {}
        }
        *self.arrived.lock().unwrap().entry(operation).or_default() += 1;
        let result = call.await;
        match fault {
            Some(Fault::AnswerLost) => std::future::pending().await,
            Some(Fault::AnswerLate(by)) => tokio::time::sleep(by).await,
            _ => {}
        }
        result
    }
}

#[async_trait]
impl Store for Rigged {
    type Database = NoTransactions;

    fn server_timeout(&self) -> Option<Duration> {
        self.memory.server_timeout()
    }

    async fn claim(&self, claim: &Claim) -> Result<Judged, StoreError> {
        self.line("claim", self.memory.claim(claim)).await
    }

    async fn complete(
        &self,
        owner: &Owner,
        response: &StoredResponse,
        ttl: Duration,
    ) -> Result<Written, StoreError> {
        self.ending("complete", owner, self.memory.complete(owner, response, ttl)).await
    }

    async fn fail(&self, owner: &Owner, ttl: Duration) -> Result<Written, StoreError> {
        self.ending("fail", owner, self.memory.fail(owner, ttl)).await
    }

    async fn hold(&self, owner: &Owner) -> Result<Written, StoreError> {
        self.ending("hold", owner, self.memory.hold(owner)).await
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Written, StoreError> {
        self.line("renew", self.memory.renew(owner, lease)).await
    }

    async fn release(&self, owner: &Owner) -> Result<Written, StoreError> {
        self.ending("release", owner, self.memory.release(owner)).await
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.line("get", self.memory.get(id)).await
    }

    async fn not_in_flight(&self, ids: &[RecordId]) -> Result<Vec<RecordId>, StoreError> {
        self.line("not_in_flight", self.memory.not_in_flight(ids)).await
    }

    fn announcements(&self) -> Option<Announcements> {
        self.announcer.get().map(Announcer::announcements)
    }

    async fn sweep(&self, limit: u32) -> Result<u64, StoreError> {
        let begun = Instant::now();
        let sweep = async {
            let swept = self.memory.sweep(limit).await?;
            let each = *self.sweeping_takes.lock().unwrap();
            tokio::time::sleep(each * u32::try_from(swept).unwrap()).await;
            Ok(swept)
        };
        let swept = self.line("sweep", sweep).await;
        self.sweeps.lock().unwrap().push(Sweep { limit, begun, took: begun.elapsed() });
        swept
    }

    async fn held(&self, after: Option<Fence>, limit: u32) -> Result<Vec<Held>, StoreError> {
        self.line("held", self.memory.held(after, limit)).await
    }

    async fn resolve(&self, owner: &Owner, resolution: &Resolution) -> Result<Written, StoreError> {
        self.ending("resolve", owner, self.memory.resolve(owner, resolution)).await
    }
}
