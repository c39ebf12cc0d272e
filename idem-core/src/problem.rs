//! What a client is told when its request is neither executed nor replayed.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, LINK, RETRY_AFTER},
};
use serde::Serialize;

use crate::{key::KeyError, store::Recover};

/// Why a request got neither an execution's answer nor a replay.
///
/// The default rendering is `application/problem+json`
/// ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)) with the `type` of [`Problem::type_uri`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// 400: the endpoint requires a key and the request has none.
    KeyMissing {
        /// The header that should carry it.
        header: http::HeaderName,
    },
    /// 400: the key is not acceptable.
    KeyInvalid {
        /// The header that carries it.
        header: http::HeaderName,
        /// What is wrong.
        error: KeyError,
    },
    /// 413: the body is over the endpoint's limit. Nothing was recorded.
    BodyTooLarge,
    /// 400: the body could not be read to its end. Nothing was recorded.
    BodyUnreadable,
    /// 422: the key was used for another request.
    Mismatch,
    /// 409: a request with this key is running.
    InFlight,
    /// 409: whether a request with this key had its effect is not known, and someone must find out.
    OutcomeUnknown,
    /// 409: the request was executed, but its answer was too large or streamed and was not kept.
    ResponseNotKept,
    /// 503: the store cannot answer; the request had no effect in it.
    StoreUnavailable,
    /// 503: the transaction met another one and was rolled back.
    TransactionConflict,
    /// 503: the database did not say whether the transaction was committed.
    CommitUnknown {
        /// Whether the request has a key, so that it may be sent again to find out.
        has_key: bool,
    },
    /// 500: the transaction was not committed, because a statement of the handler had failed or the
    /// database refused to.
    NotCommitted,
    /// 500: the handler ended its transaction itself. What it committed stays, without a record.
    TransactionEnded,
    /// 500: the handler let its transaction outlive it. Nothing was committed.
    TransactionEscaped,
    /// 500: the handler panicked.
    HandlerPanicked {
        /// Whether a retry executes again, or the record is held.
        recover: Recover,
    },
    /// 500: a route without a template (a fallback) needs `operation = "…"`.
    OperationUnknown,
    /// 500: the value of the endpoint's fingerprint expression cannot be written as JSON.
    FingerprintFailed,
}

impl Problem {
    /// The status.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::KeyMissing { .. } | Self::KeyInvalid { .. } | Self::BodyUnreadable => {
                StatusCode::BAD_REQUEST
            }
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Mismatch => StatusCode::UNPROCESSABLE_ENTITY,
            Self::InFlight | Self::OutcomeUnknown | Self::ResponseNotKept => StatusCode::CONFLICT,
            Self::StoreUnavailable | Self::TransactionConflict | Self::CommitUnknown { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::HandlerPanicked { .. }
            | Self::NotCommitted
            | Self::TransactionEnded
            | Self::TransactionEscaped
            | Self::OperationUnknown
            | Self::FingerprintFailed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// A stable name, in kebab case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::KeyMissing { .. } => "key-missing",
            Self::KeyInvalid { .. } => "key-invalid",
            Self::BodyTooLarge => "body-too-large",
            Self::BodyUnreadable => "body-unreadable",
            Self::Mismatch => "mismatch",
            Self::InFlight => "in-flight",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::ResponseNotKept => "response-not-kept",
            Self::StoreUnavailable => "store-unavailable",
            Self::TransactionConflict => "transaction-conflict",
            Self::CommitUnknown { .. } => "commit-unknown",
            Self::NotCommitted => "not-committed",
            Self::TransactionEnded => "transaction-ended",
            Self::TransactionEscaped => "transaction-escaped",
            Self::HandlerPanicked { .. } => "handler-panicked",
            Self::OperationUnknown => "operation-unknown",
            Self::FingerprintFailed => "fingerprint-failed",
        }
    }

    /// The stable `type` of the problem: `urn:problem-type:idem:` and the [`name`](Self::name).
    pub fn type_uri(&self) -> String {
        format!("urn:problem-type:idem:{}", self.name())
    }

    /// A short summary that is the same for every occurrence.
    pub const fn title(&self) -> &'static str {
        match self {
            Self::KeyMissing { .. } => "Idempotency key missing",
            Self::KeyInvalid { .. } => "Idempotency key not acceptable",
            Self::BodyTooLarge => "Request body too large",
            Self::BodyUnreadable => "Request body not readable",
            Self::Mismatch => "Idempotency key already used",
            Self::InFlight => "Request in flight",
            Self::OutcomeUnknown => "Outcome unknown",
            Self::ResponseNotKept => "Response not kept",
            Self::StoreUnavailable => "Idempotency store unavailable",
            Self::TransactionConflict => "Transaction conflict",
            Self::CommitUnknown { .. } => "Commit not confirmed",
            Self::HandlerPanicked { .. }
            | Self::NotCommitted
            | Self::TransactionEnded
            | Self::TransactionEscaped => "Request failed",
            Self::OperationUnknown => "Endpoint misconfigured",
            Self::FingerprintFailed => "Request not comparable",
        }
    }

    /// What happened and what to do, for the client's developer. It says nothing of the stored
    /// request. An endpoint may derive its keys, so that a client knows of none: who sends a request
    /// again *unchanged* sends it with the key that it has, if it has one.
    pub fn detail(&self) -> String {
        match self {
            Self::KeyMissing { header } => format!(
                "This operation needs the header `{header}`: one new key for each intent, the same \
                 key for each retry of it."
            ),
            Self::KeyInvalid { header, error } => format!("The header `{header}`: {error}."),
            Self::BodyTooLarge => "The request body is over the limit of this operation.".into(),
            Self::BodyUnreadable => "The request body ended early or is broken.".into(),
            Self::Mismatch => "Another request was made with the key of this one. Use a new key \
                               for a new intent, and send retries unchanged."
                .into(),
            Self::InFlight => "A request for the same intent is running. Send this one again \
                               later, unchanged, to get its answer."
                .into(),
            Self::OutcomeUnknown => {
                "A request for the same intent was cut off, and whether it had \
                                     its effect is not known yet. It is not executed again until \
                                     that is settled."
                    .into()
            }
            Self::ResponseNotKept => {
                "The request was executed once and is not executed again; its \
                                      answer was not kept."
                    .into()
            }
            Self::StoreUnavailable => {
                "The database that tells duplicates apart did not answer, so \
                                       this request had no effect in it. Send it again, unchanged."
                    .into()
            }
            Self::TransactionConflict => "The request met another one that works on the same \
                                          data, and had no effect. Send it again, unchanged."
                .into(),
            Self::CommitUnknown { has_key: true } => {
                "Whether the request had its effect cannot be told right now. Send it again, \
                 unchanged, to find out."
                    .into()
            }
            Self::CommitUnknown { has_key: false } => {
                "Whether the request had its effect cannot be told. It had no key by which a retry \
                 would be recognised."
                    .into()
            }
            Self::NotCommitted => "The request failed unexpectedly and had no effect. It may be \
                                   sent again, unchanged."
                .into(),
            Self::TransactionEnded => "The request failed unexpectedly: its handler ended the \
                                       transaction itself, so that nothing was recorded."
                .into(),
            Self::TransactionEscaped => "The request failed unexpectedly and had no effect: its \
                                         handler let the transaction outlive it."
                .into(),
            Self::HandlerPanicked { recover: Recover::Retry } => {
                "The request failed unexpectedly. It may be sent again, unchanged.".into()
            }
            Self::HandlerPanicked { recover: Recover::Hold } => {
                "The request failed unexpectedly, and whether it had its effect is not known. It \
                 is not executed again until that is settled."
                    .into()
            }
            Self::OperationUnknown => "This route has no template to name its operation by; its \
                                       handler needs `operation = \"…\"`."
                .into(),
            Self::FingerprintFailed => "What this request asks for could not be put into a \
                                        comparable form."
                .into(),
        }
    }

    /// Whether a retry with the same key can succeed without any other change, so that the answer
    /// carries `Retry-After`.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::InFlight
                | Self::StoreUnavailable
                | Self::TransactionConflict
                | Self::CommitUnknown { has_key: true }
        )
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A problem on its way to a client: what a replacement of the rendering has to work with.
#[derive(Debug)]
#[non_exhaustive]
pub struct ProblemContext<'a> {
    /// What happened.
    pub problem: &'a Problem,
    /// The request's headers, for the client's language and the like.
    pub request_headers: &'a HeaderMap,
    /// How long the client should wait; set for transient problems.
    pub retry_after: Option<Duration>,
}

/// How problems become responses. The `Retry-After` header is added to whatever it returns.
pub(crate) type RenderProblem = dyn Fn(&ProblemContext<'_>) -> Response<Bytes> + Send + Sync;

/// The rendering of one engine.
#[derive(Clone)]
pub(crate) struct Renderer {
    pub(crate) docs_url: Option<HeaderValue>,
    pub(crate) replaced: Option<Arc<RenderProblem>>,
}

impl Renderer {
    /// Whether the request's headers matter.
    pub(crate) const fn reads_request(&self) -> bool {
        self.replaced.is_some()
    }

    pub(crate) fn render(&self, context: &ProblemContext<'_>) -> Response<Bytes> {
        let mut response = match &self.replaced {
            Some(render) => render(context),
            None => self.problem_json(context.problem),
        };
        if let Some(after) = context.retry_after {
            response.headers_mut().entry(RETRY_AFTER).or_insert(after.as_secs().max(1).into());
        }
        response
    }

    fn problem_json(&self, problem: &Problem) -> Response<Bytes> {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: &'a str,
            title: &'a str,
            status: u16,
            detail: &'a str,
        }
        let body = serde_json::to_vec(&Body {
            r#type: &problem.type_uri(),
            title: problem.title(),
            status: problem.status().as_u16(),
            detail: &problem.detail(),
        })
        .unwrap_or_default();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = problem.status();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        if let Some(link) = &self.docs_url {
            response.headers_mut().insert(LINK, link.clone());
        }
        response
    }
}

impl fmt::Debug for Renderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renderer").field("docs_url", &self.docs_url).finish_non_exhaustive()
    }
}
