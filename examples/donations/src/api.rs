//! The HTTP API.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{FromRef, State},
    http::StatusCode,
    response::IntoResponse,
    routing::{get, post},
};
use idem::{Attempt, Idem, Tx, idempotent};
use serde::Serialize;
use sqlx::Sqlite;

use crate::{
    donations::{self, Donation, NewDonation},
    error::ApiError,
    extract::{Body, Donor},
};

/// What the handlers work with.
#[derive(Clone, FromRef)]
pub(crate) struct App {
    pub(crate) idem: Idem<Sqlite>,
    pub(crate) database: demo::Sqlite,
    pub(crate) delay: Duration,
}

pub(crate) fn router(app: App) -> Router {
    let router = Router::new()
        .route("/donations", post(create).get(list))
        .route("/healthz", get(|| async { "ok\n" }));
    #[cfg(feature = "unguarded")]
    let router = router.route("/unguarded/donations", post(crate::unguarded::create));
    router
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .with_state(app)
}

/// The row and the record commit together. The row has the attempt's key, too: when the record is gone,
/// the table's index still refuses a second row.
#[idempotent(scope = "user", operation = "donations.create")]
async fn create(
    State(delay): State<Duration>,
    Donor(user): Donor,
    attempt: Attempt,
    mut tx: Tx<Sqlite>,
    Body(donation): Body<NewDonation>,
) -> Result<impl IntoResponse, ApiError> {
    worked(delay).await;
    Ok(created(donations::give(&mut tx, Some(&attempt.key()), &donation).await?))
}

async fn list(State(database): State<demo::Sqlite>) -> Result<Json<Vec<Donation>>, ApiError> {
    Ok(Json(donations::all(&mut *database.reader().await?).await?))
}

/// Takes the time that a donation takes.
pub(crate) async fn worked(delay: Duration) {
    tracing::debug!("a donation is processed");
    tokio::time::sleep(delay).await;
}

pub(crate) fn created(donation: Donation) -> impl IntoResponse {
    (StatusCode::CREATED, Json(Success { success: true, data: donation }))
}

/// The shape of an answer.
#[derive(Serialize)]
struct Success<T> {
    success: bool,
    data: T,
}
