//! Other attributes, on the side where they belong.

#![deny(warnings)]

use axum::{Router, body::Bytes, extract::FromRef, http::HeaderMap, routing::post};
use idem::{Attempt, Idem, idempotent};

#[derive(Clone, FromRef)]
struct AppState {
    idem: Idem,
}

#[idempotent(scope = "global")]
#[axum::debug_handler(state = AppState)]
async fn debug_handler_below(headers: HeaderMap, body: Bytes) -> String {
    format!("{headers:?} {body:?}")
}

#[idempotent(scope = "global")]
#[axum::debug_handler]
async fn debug_handler_below_without_state(body: Bytes) -> Bytes {
    body
}

#[tracing::instrument(skip_all)]
#[idempotent(scope = "body")]
async fn instrument_above(attempt: Attempt, body: String) -> String {
    attempt.key() + &body
}

#[idempotent(scope = "body")]
#[tracing::instrument(skip(attempt), fields(number = attempt.number()), err(Debug))]
async fn instrument_below(attempt: Attempt, body: String) -> Result<String, String> {
    Ok(attempt.key() + &body)
}

/// Documented.
#[utoipa::path(post, path = "/payments", responses((status = 200, body = String)))]
#[idempotent(scope = "body")]
async fn utoipa_above(body: String) -> String {
    body
}

#[cfg(any())]
#[idempotent(scope = "global")]
async fn variant() -> u8 {}

#[cfg(not(any()))]
#[idempotent(scope = "global")]
async fn variant() {}

#[idempotent(scope = "global")]
#[cfg(any())]
async fn variant_below() -> u8 {}

#[idempotent(scope = "global")]
#[cfg(not(any()))]
async fn variant_below() {}

#[cfg_attr(not(any()), idempotent(scope = "global"))]
async fn conditionally() {}

#[idem::idempotent(scope = "global")]
async fn by_its_path() {}

#[idempotent(scope = "global")]
#[inline]
#[expect(clippy::unused_async, reason = "it waits for nobody")]
async fn others_below() {}

fn main() {
    let _: Router<AppState> = Router::new()
        .route("/1", post(debug_handler_below))
        .route("/2", post(debug_handler_below_without_state))
        .route("/3", post(instrument_above))
        .route("/4", post(instrument_below))
        .route("/5", post(utoipa_above))
        .route("/6", post(variant))
        .route("/7", post(variant_below))
        .route("/8", post(conditionally))
        .route("/9", post(by_its_path))
        .route("/10", post(others_below));
    let _ = utoipa_axum::routes!(utoipa_above) as utoipa_axum::router::UtoipaMethodRouter<AppState>;
}
