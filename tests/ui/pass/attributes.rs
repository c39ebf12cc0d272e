//! Other attributes, on the side where they belong.

#![deny(warnings)]

use axum::{Router, body::Bytes, extract::FromRef, http::HeaderMap, routing::post};
use idem::{Attempt, Idem, Tx, idempotent};
use sqlx::Postgres;

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

#[derive(Clone, FromRef)]
struct WithTransactions {
    idem: Idem<Postgres>,
}

/// It is no extractor of axum's.
#[idempotent(scope = "global")]
#[axum::debug_handler(state = WithTransactions)]
async fn debug_handler_below_with_tx(_: Attempt, _: Tx<Postgres>, body: String) -> String {
    body
}

mod imported {
    use axum::debug_handler;
    use idem::{Attempt, Tx, idempotent};

    use super::{Postgres, WithTransactions};

    #[idempotent(scope = "global")]
    #[debug_handler]
    pub(super) async fn debug_handler_below(_: Tx<Postgres>) {}

    mod deeper {
        pub(super) use super::WithTransactions as State;
    }

    #[idempotent(scope = "global")]
    #[debug_handler(state = deeper::State,)]
    pub(super) async fn with_state(_: Attempt) {}

    mod once {
        use super::{debug_handler, idempotent};

        #[idempotent(scope = "global")]
        #[debug_handler(state = super::WithTransactions)]
        pub(super) async fn without_arguments() {}
    }

    pub(super) fn routes() -> axum::Router<WithTransactions> {
        axum::Router::new().route("/", axum::routing::post(once::without_arguments))
    }
}

#[tracing::instrument(skip_all)]
#[idempotent(scope = "global")]
async fn instrument_above_with_tx(tx: Tx<Postgres>, body: String) -> String {
    drop(tx);
    body
}

#[idempotent(scope = "global")]
#[tracing::instrument(skip(tx), fields(name = body), err)]
async fn instrument_below_with_tx(mut tx: Tx<Postgres>, body: String) -> Result<(), Failure> {
    sqlx::query("SELECT 1").execute(&mut *tx).await.map(drop)?;
    Ok(())
}

#[derive(Debug)]
struct Failure(sqlx::Error);

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failure {}

impl axum::response::IntoResponse for Failure {
    fn into_response(self) -> axum::response::Response {
        ().into_response()
    }
}

/// Documented.
#[utoipa::path(post, path = "/payments", responses((status = 200, body = String)))]
#[tracing::instrument(skip_all)]
#[idempotent(scope = "body")]
#[axum::debug_handler(state = WithTransactions)]
async fn all_with_tx(tx: Tx<Postgres>, body: String) -> String {
    drop(tx);
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
    let _: Router<WithTransactions> = Router::new()
        .route("/1", post(debug_handler_below_with_tx))
        .route("/2", post(imported::debug_handler_below))
        .route("/3", post(imported::with_state))
        .route("/4", post(instrument_above_with_tx))
        .route("/5", post(instrument_below_with_tx))
        .merge(imported::routes());
    let _ = utoipa_axum::routes!(all_with_tx)
        as utoipa_axum::router::UtoipaMethodRouter<WithTransactions>;
    let _ = utoipa_axum::routes!(utoipa_above) as utoipa_axum::router::UtoipaMethodRouter<AppState>;
}
