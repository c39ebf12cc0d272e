//! Why a request is refused. Each reason has a code of its own, which clients rely on: it never
//! changes.

use std::error::Error;

use axum::{
    extract::rejection::{JsonRejection, QueryRejection},
    http::{HeaderName, HeaderValue, StatusCode, header},
};
use demo::Anonymous;
use idem::Problem;
use serde_json::{Value, json};

use crate::events::{MAX_PARTICIPANTS, MAX_TITLE};

#[derive(Debug)]
pub(crate) enum Refusal {
    /// By the engine.
    Guard(Problem),
    NoRoute,
    NoMethod,
    Anonymous,
    Query(QueryRejection),
    Body(JsonRejection),
    Title,
    Participants,
    /// The price has to be confirmed. Nothing was done.
    ConfirmationRequired {
        price: i64,
        credit: i64,
    },
    /// Nothing was done, and a user who has got more credit may send the same request again.
    InsufficientCredit {
        price: i64,
        credit: i64,
    },
    /// For good.
    Refused,
    Unavailable,
    Database,
}

impl Refusal {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Guard(problem) => code_of(problem),
            Self::NoRoute => "NOT_FOUND",
            Self::NoMethod => "METHOD_NOT_ALLOWED",
            Self::Anonymous => "UNAUTHORIZED",
            Self::Query(_) => "QUERY_INVALID",
            Self::Body(JsonRejection::JsonSyntaxError(_)) => "JSON_MALFORMED",
            Self::Body(JsonRejection::MissingJsonContentType(_)) => "CONTENT_TYPE_UNSUPPORTED",
            Self::Body(_) => "BODY_INVALID",
            Self::Title => "TITLE_INVALID",
            Self::Participants => "PARTICIPANTS_INVALID",
            Self::ConfirmationRequired { .. } => "CONFIRMATION_REQUIRED",
            Self::InsufficientCredit { .. } => "INSUFFICIENT_CREDIT",
            Self::Refused => "EVENT_REFUSED",
            Self::Unavailable => "SERVICE_UNAVAILABLE",
            Self::Database => "INTERNAL_ERROR",
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Guard(problem) => problem.status(),
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::NoMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Anonymous => StatusCode::UNAUTHORIZED,
            Self::Query(rejection) => rejection.status(),
            Self::Body(rejection) => rejection.status(),
            Self::Title | Self::Participants => StatusCode::UNPROCESSABLE_ENTITY,
            Self::ConfirmationRequired { .. } | Self::InsufficientCredit { .. } => {
                StatusCode::PAYMENT_REQUIRED
            }
            Self::Refused => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Database => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What a program may want to know, or, in English, a developer.
    pub(crate) fn details(&self) -> Option<Value> {
        match self {
            Self::Guard(Problem::KeyInvalid { error, .. }) => {
                Some(json!({ "reason": error.to_string() }))
            }
            Self::Query(rejection) => Some(json!({ "reason": rejection.body_text() })),
            Self::Body(rejection) => Some(json!({ "reason": rejection.body_text() })),
            Self::Title => Some(json!({ "max": MAX_TITLE })),
            Self::Participants => Some(json!({ "min": 1, "max": MAX_PARTICIPANTS })),
            Self::ConfirmationRequired { price, credit }
            | Self::InsufficientCredit { price, credit } => {
                Some(json!({ "price": price, "credit": credit }))
            }
            _ => None,
        }
    }

    /// A header that belongs to the status. The engine adds its own `Retry-After`.
    pub(crate) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Anonymous => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::Unavailable => Some((header::RETRY_AFTER, HeaderValue::from_static("1"))),
            _ => None,
        }
    }

    /// Whether the same request may be accepted later, although its status is one of those that are
    /// recorded.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self, Self::ConfirmationRequired { .. } | Self::InsufficientCredit { .. })
    }
}

const fn code_of(problem: &Problem) -> &'static str {
    match problem {
        Problem::KeyMissing { .. } => "IDEMPOTENCY_KEY_MISSING",
        Problem::KeyInvalid { .. } => "IDEMPOTENCY_KEY_INVALID",
        Problem::BodyTooLarge => "BODY_TOO_LARGE",
        Problem::BodyUnreadable => "BODY_UNREADABLE",
        Problem::Mismatch => "IDEMPOTENCY_KEY_REUSED",
        Problem::InFlight => "REQUEST_IN_PROGRESS",
        Problem::OutcomeUnknown => "OUTCOME_UNKNOWN",
        Problem::ResponseNotKept => "RESPONSE_NOT_KEPT",
        Problem::StoreUnavailable => "STORE_UNAVAILABLE",
        Problem::TransactionConflict => "TRANSACTION_CONFLICT",
        Problem::CommitUnknown { .. } => "COMMIT_UNKNOWN",
        Problem::NotCommitted => "NOT_COMMITTED",
        Problem::TransactionEnded => "TRANSACTION_ENDED",
        Problem::TransactionEscaped => "TRANSACTION_ESCAPED",
        Problem::HandlerPanicked { .. } => "HANDLER_PANICKED",
        Problem::OperationUnknown => "OPERATION_UNKNOWN",
        Problem::FingerprintFailed => "FINGERPRINT_FAILED",
        // What a later version of the engine may add, until it gets a code here.
        _ => "REQUEST_REFUSED",
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Guard(problem)
    }
}

impl From<Anonymous> for Refusal {
    fn from(_: Anonymous) -> Self {
        Self::Anonymous
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::Query(rejection)
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        Self::Body(rejection)
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(error = &error as &dyn Error, "the database failed");
        Self::Database
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use idem::{KeyError, Recover};

    use super::*;

    #[test]
    fn each_problem_of_the_engine_has_a_code_of_its_own() {
        let header = HeaderName::from_static("idempotency-key");
        let problems = [
            Problem::KeyMissing { header: header.clone() },
            Problem::KeyInvalid { header, error: KeyError::NotUuid },
            Problem::BodyTooLarge,
            Problem::BodyUnreadable,
            Problem::Mismatch,
            Problem::InFlight,
            Problem::OutcomeUnknown,
            Problem::ResponseNotKept,
            Problem::StoreUnavailable,
            Problem::TransactionConflict,
            Problem::CommitUnknown { has_key: true },
            Problem::NotCommitted,
            Problem::TransactionEnded,
            Problem::TransactionEscaped,
            Problem::HandlerPanicked { recover: Recover::Retry },
            Problem::OperationUnknown,
            Problem::FingerprintFailed,
        ];
        let codes: HashSet<_> = problems.iter().map(code_of).collect();
        assert_eq!(codes.len(), problems.len());
        assert!(!codes.contains("REQUEST_REFUSED"));
        let is_stable_name = |it: &&str| it.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        assert!(codes.iter().all(is_stable_name));
    }
}
