//! The way of a request between axum and the engine.

use std::{error::Error, future::Future};

use axum::extract::{MatchedPath, OriginalUri};
use axum_core::{
    RequestExt,
    body::Body,
    extract::{DefaultBodyLimit, FromRequest, Request},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, Uri, request::Parts};
use http_body_util::{BodyExt, LengthLimitError};
use idem_core::{
    BodyFingerprint, Endpoint, Fingerprint, FingerprintBuilder, FingerprintError, Granted,
    GuardedRequest, Handled, Idem, IdempotencyKey, KeySource, Problem, Scope, ScopeValue,
    ScopeWriter,
};
use serde::Serialize;

use crate::key::Key;

/// The only argument of a guarded handler as axum sees it: the whole request, and the state.
#[derive(Debug)]
pub struct Guarded<S> {
    /// The request, its body unread.
    pub request: Request,
    /// The router's state.
    pub state: S,
}

/// Keeps the impl below apart from all others.
#[derive(Debug)]
pub struct ViaGuard;

impl<S> FromRequest<S, ViaGuard> for Guarded<S>
where
    S: Clone + Send + Sync,
{
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        Ok(Self { request, state: state.clone() })
    }
}

/// A request on its way: key → head → body → scope, key and fingerprint → engine.
#[derive(Debug)]
pub struct Edge<D> {
    idem: Idem<D>,
    endpoint: &'static Endpoint,
    head: Parts,
    unread: Body,
    body: Bytes,
    /// `None`: the request has no key and gets none.
    guard: Option<Guard>,
    /// Of a request without a guard, if its route has a template.
    operation: Option<String>,
    headers_for_problems: HeaderMap,
}

#[derive(Debug)]
struct Guard {
    sent: Option<Key>,
    operation: String,
    print: FingerprintBuilder,
    headers: HeaderMap,
}

/// What the attribute's expressions say of a request: scope, key, fingerprint.
type Asked = (ScopeValue, Option<Key>, Result<Fingerprint, FingerprintError>);

impl<D> Edge<D> {
    /// Reads the key that the client sent, before anything else.
    ///
    /// # Errors
    ///
    /// The answer to a request whose key is missing or not acceptable.
    pub fn begin(
        idem: Idem<D>,
        endpoint: &'static Endpoint,
        request: Request,
    ) -> Result<Self, Response> {
        let (head, unread) = request.into_parts();
        let headers_for_problems = idem.headers_for_problems(&head.headers);
        let mut edge = Self {
            idem,
            endpoint,
            head,
            unread,
            body: Bytes::new(),
            guard: None,
            operation: None,
            headers_for_problems,
        };
        let mut operation = edge.operation();
        match edge.guard(&mut operation) {
            Ok(guard) => {
                (edge.guard, edge.operation) = (guard, operation);
                Ok(edge)
            }
            Err(problem) => Err(edge.reject(&problem, operation.as_deref())),
        }
    }

    /// Takes the operation, if the request is to be guarded.
    fn guard(&self, operation: &mut Option<String>) -> Result<Option<Guard>, Problem> {
        let source = self.endpoint.key_source();
        let sent = if source == KeySource::Derived { None } else { self.sent_key()? };
        if sent.is_none() && source == KeySource::Sent {
            return Ok(None);
        }
        let Some(operation) = operation.take() else {
            tracing::error!("a route without a template needs `operation = \"…\"` on its handler");
            return Err(Problem::OperationUnknown);
        };
        let uri = original_uri(&self.head);
        let mut print = FingerprintBuilder::new(&self.head.method, uri.path());
        if self.endpoint.covers_query() {
            print = print.query(uri.query());
        }
        let headers = self.head.headers.clone();
        Ok(Some(Guard { sent, operation, print, headers }))
    }

    fn sent_key(&self) -> Result<Option<Key>, Problem> {
        let header = self.idem.key_header(self.endpoint);
        let format = self.endpoint.accepted_keys();
        match IdempotencyKey::from_headers(&self.head.headers, &header, format) {
            Ok(None) if self.must_be_sent() => Err(Problem::KeyMissing { header }),
            Ok(key) => Ok(key.map(Key::Sent)),
            Err(error) => Err(Problem::KeyInvalid { header, error }),
        }
    }

    const fn must_be_sent(&self) -> bool {
        matches!(self.endpoint.key_source(), KeySource::Sent) && self.endpoint.is_required()
    }

    fn operation(&self) -> Option<String> {
        if let Some(name) = self.endpoint.operation_name() {
            return Some(name.to_owned());
        }
        let template = self.head.extensions.get::<MatchedPath>()?;
        Some(format!("{} {}", self.head.method, template.as_str()))
    }

    /// The request's head, for every extractor but the last.
    pub const fn head(&mut self) -> &mut Parts {
        &mut self.head
    }

    /// The request for the last extractor, its body read within the limit; a request that passes
    /// through unguarded keeps its body as it came.
    ///
    /// # Errors
    ///
    /// The answer to a request whose body is too large or cannot be read.
    pub async fn request(&mut self) -> Result<Request, Response> {
        let (empty, ()) = Request::new(()).into_parts();
        let head = std::mem::replace(&mut self.head, empty);
        let mut request = Request::from_parts(head, std::mem::take(&mut self.unread));
        if let Some(limit) = self.idem.max_body(self.endpoint) {
            DefaultBodyLimit::max(limit).apply(&mut request);
        }
        let Some(guard) = &self.guard else {
            return Ok(request);
        };
        let (head, body) = request.with_limited_body().into_parts();
        match body.collect().await {
            Ok(body) => self.body = body.to_bytes(),
            Err(error) => {
                let is_over_limit = is_over_limit(&error);
                let problem =
                    if is_over_limit { Problem::BodyTooLarge } else { Problem::BodyUnreadable };
                return Err(self.reject(&problem, Some(&guard.operation)));
            }
        }
        Ok(Request::from_parts(head, Body::from(self.body.clone())))
    }

    /// Evaluates scope, key and fingerprint, if the request has a key to guard it by.
    pub fn ask(
        &mut self,
        of: impl FnOnce(Print<'_>, Option<Key>) -> Asked,
    ) -> Option<Result<GuardedRequest, Response>> {
        let guard = self.guard.take()?;
        let print = Print {
            builder: guard.print,
            kind: self.endpoint.body_fingerprint(),
            headers: &guard.headers,
            body: &self.body,
        };
        let (scope, key, fingerprint) = of(print, guard.sent);
        let key = key?;
        let operation = &*guard.operation;
        Some(match fingerprint {
            Ok(fingerprint) => {
                let id = key.record(operation, &scope);
                Ok(GuardedRequest { id, fingerprint, endpoint: self.endpoint })
            }
            Err(error) => {
                tracing::error!(operation, error = &error as &dyn Error, "no fingerprint");
                Err(self.reject(&Problem::FingerprintFailed, Some(operation)))
            }
        })
    }

    /// Answers the request.
    pub async fn answer<F, Fut>(
        self,
        asked: Option<Result<GuardedRequest, Response>>,
        run: F,
    ) -> Response
    where
        F: FnMut(Granted) -> Fut + Send + 'static,
        Fut: Future<Output = Handled<Body>> + Send + 'static,
    {
        let Self { idem, endpoint, operation, headers_for_problems, .. } = self;
        let answer = match asked {
            None => idem.answer_unguarded(endpoint, operation, run).await,
            Some(Ok(request)) => idem.answer(request, run).await,
            Some(Err(refused)) => return refused,
        };
        answer
            .unwrap_or_else(|problem| idem.render(&problem, &headers_for_problems).map(Body::from))
    }

    fn reject(&self, problem: &Problem, operation: Option<&str>) -> Response {
        self.idem.reject(problem, operation, &self.headers_for_problems).map(Body::from)
    }
}

/// Inside of nested routers, the request's own uri has lost the prefix.
fn original_uri(head: &Parts) -> &Uri {
    head.extensions.get::<OriginalUri>().map_or(&head.uri, |it| &it.0)
}

fn is_over_limit(error: &axum_core::Error) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.is::<LengthLimitError>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// A fingerprint that has method, path and query, and lacks the body or a value.
#[derive(Debug)]
pub struct Print<'a> {
    builder: FingerprintBuilder,
    kind: BodyFingerprint,
    headers: &'a HeaderMap,
    body: &'a Bytes,
}

impl Print<'_> {
    /// Ends with the body, as the endpoint wants it.
    pub fn body(self) -> Fingerprint {
        match self.kind {
            BodyFingerprint::Json => self.builder.json(self.headers, self.body),
            BodyFingerprint::Bytes => self.builder.bytes(self.body),
            BodyFingerprint::None => self.builder.none(),
        }
    }

    /// Ends with a value.
    ///
    /// # Errors
    ///
    /// When the value cannot be written as JSON.
    pub fn value(self, value: &(impl Serialize + ?Sized)) -> Result<Fingerprint, FingerprintError> {
        self.builder.value(value)
    }
}

/// A part of a fingerprint that the attribute names.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a fingerprint",
    label = "not `Serialize`",
    note = "derive `serde::Serialize` for it, or name those of its fields that tell requests apart"
)]
pub trait Printable: Serialize {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> Printable for T {}

/// The value, if it can be part of a fingerprint.
pub const fn printable<T: Printable + ?Sized>(value: &T) -> &T {
    value
}

/// The scope that the attribute names.
pub fn scope_of(scope: &dyn Scope) -> ScopeValue {
    ScopeValue::of(scope)
}

/// Several scopes in one, by the parts of a tuple expression.
#[allow(missing_debug_implementations, reason = "a scope shows itself to nobody")]
pub struct ScopeTuple<'a>(pub &'a [&'a dyn Scope]);

impl Scope for ScopeTuple<'_> {
    fn write(&self, out: &mut ScopeWriter) {
        out.tuple(self.0);
    }
}

/// What a handler may return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no response",
    label = "not an axum response",
    note = "return something that implements `axum::response::IntoResponse`: a `Json`, a tuple of \
            status and body, a `Result` of two responses, or `()`"
)]
pub trait Respond {
    /// The response.
    fn respond(self) -> Response;
}

#[diagnostic::do_not_recommend]
impl<T: IntoResponse> Respond for T {
    fn respond(self) -> Response {
        self.into_response()
    }
}

/// What a handler returned. In a transaction it may be an error that another run does not have, which
/// `is_conflict` says of its sources.
pub fn handled(endpoint: &Endpoint, answer: impl Respond, is_conflict: bool) -> Handled<Body> {
    let response = answer.respond();
    let is_marked = response.extensions().get::<TransactionConflict>().is_some();
    if endpoint.is_transactional() && (is_conflict || is_marked) {
        Handled::Conflict
    } else {
        Handled::Answered(response)
    }
}

/// Marks a response of a handler in a transaction: it failed because its transaction met another
/// one, and may be run again. Put it into the response's extensions. Without a transaction it means
/// nothing.
///
/// Errors that implement [`std::error::Error`] and have the `sqlx` error among their
/// [sources](std::error::Error::source) need no mark.
///
/// ```
/// use axum::{http::StatusCode, response::{IntoResponse, Response}};
/// use idem::TransactionConflict;
///
/// enum Failure {
///     Database { is_conflict: bool },
/// }
///
/// impl IntoResponse for Failure {
///     fn into_response(self) -> Response {
///         let Self::Database { is_conflict } = self;
///         let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
///         if is_conflict {
///             response.extensions_mut().insert(TransactionConflict);
///         }
///         response
///     }
/// }
/// # let _ = Failure::Database { is_conflict: true }.into_response();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TransactionConflict;

/// What a handler returned, to be looked at before it becomes a response.
#[derive(Debug)]
pub struct Returned<'a, T>(pub &'a T);

/// Sees whether an error was caused by a conflict of transactions. The macro's output calls it on
/// `&&Returned`, where the more special impl is found first.
pub trait SeesConflict {
    /// Whether it was.
    fn is_conflict(&self) -> bool;
}

impl<T, E: Error + 'static> SeesConflict for &Returned<'_, Result<T, E>> {
    fn is_conflict(&self) -> bool {
        self.0.as_ref().is_err_and(|error| crate::is_conflict(error))
    }
}

/// Everything that is no error.
pub trait SeesNothing {
    /// It is not.
    fn is_conflict(&self) -> bool {
        false
    }
}

impl<T> SeesNothing for Returned<'_, T> {}

/// The arguments of a handler that runs once.
#[derive(Debug)]
pub struct Once<A>(Option<A>);

impl<A> Once<A> {
    /// Keeps them for the run.
    pub const fn new(arguments: A) -> Self {
        Self(Some(arguments))
    }

    /// Takes them.
    #[allow(clippy::missing_panics_doc, reason = "an endpoint without `retries` runs once")]
    pub fn take(&mut self) -> A {
        self.0.take().expect("only an endpoint with `retries` runs twice")
    }
}
