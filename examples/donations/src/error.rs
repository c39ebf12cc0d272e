//! What goes wrong, in the one shape that all answers of this API have.

use axum::{
    Json,
    body::Bytes,
    extract::rejection::JsonRejection,
    http::{HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};
use idem::{Problem, ProblemContext};
use serde_json::{Value, json};

/// Why there is no donation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("send `Authorization: Bearer <user>`")]
    Unauthorized,
    #[error("{}", .0.body_text())]
    Body(#[from] JsonRejection),
    #[error("this donation was made before and is not made again")]
    Duplicate,
    #[error("there is nothing at this path")]
    NotFound,
    #[error("this path has no such method")]
    MethodNotAllowed,
    #[cfg(feature = "unguarded")]
    #[error("{}", .0.detail())]
    Problem(Problem),
    #[error("{}", if is_busy(.0) { "the database is busy: ask again" } else { "the database failed" })]
    Database(#[from] sqlx::Error),
}

impl ApiError {
    fn status_and_code(&self) -> (StatusCode, String) {
        let (status, code) = match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
            Self::Body(rejection) => (rejection.status(), "INVALID_BODY"),
            Self::Duplicate => (StatusCode::CONFLICT, "DUPLICATE_DONATION"),
            Self::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
            #[cfg(feature = "unguarded")]
            Self::Problem(problem) => return (problem.status(), code_of(problem)),
            Self::Database(error) if is_busy(error) => (StatusCode::SERVICE_UNAVAILABLE, "BUSY"),
            Self::Database(_) => (StatusCode::INTERNAL_SERVER_ERROR, "DATABASE_FAILED"),
        };
        (status, code.to_owned())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> axum::response::Response {
        if let Self::Database(error) = &self {
            tracing::error!(error = error as &dyn std::error::Error, "{self}");
        }
        let (status, code) = self.status_and_code();
        let mut response = (status, Json(envelope(&code, &self.to_string()))).into_response();
        let advice = match status {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = advice {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// Whether somebody else was writing for too long.
fn is_busy(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::PoolTimedOut) || idem::is_conflict(error)
}

/// The engine's own answers, in the same shape.
pub(crate) fn render(context: &ProblemContext<'_>) -> Response<Bytes> {
    let body = envelope(&code_of(context.problem), &context.problem.detail());
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = context.problem.status();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn envelope(code: &str, message: &str) -> Value {
    json!({ "success": false, "error": { "code": code, "message": message } })
}

/// `in-flight` → `IN_FLIGHT`.
fn code_of(problem: &Problem) -> String {
    problem.name().to_uppercase().replace('-', "_")
}
