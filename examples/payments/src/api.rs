//! The HTTP API.

use axum::{
    Json, Router,
    extract::{FromRef, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use idem::{Attempt, Idem, idempotent};

use crate::{
    auth::User,
    database::Database,
    payments::{Order, Payment, PaymentError},
    provider::Provider,
};

/// What the handlers work with.
#[derive(Clone, FromRef)]
pub(crate) struct App {
    pub(crate) idem: Idem,
    pub(crate) database: Database,
    pub(crate) provider: Provider,
}

pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/payments", post(create_payment).get(list_payments))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(app)
}

#[idempotent(scope = "user", ttl = "24h")]
async fn create_payment(
    State(provider): State<Provider>,
    State(database): State<Database>,
    user: User,
    attempt: Attempt,
    Json(order): Json<Order>,
) -> Result<impl IntoResponse, PaymentError> {
    let order = order.validated()?;
    provider.charge(&attempt.child_key("charge"), &order).await?;
    // The same id for each attempt: what an attempt that was killed has written is found again.
    let payment = database.insert(&user, Payment::of(attempt.key(), order)).await?;
    let location = [(header::LOCATION, format!("/payments/{}", payment.id))];
    Ok((StatusCode::CREATED, location, Json(payment)))
}

async fn list_payments(
    State(database): State<Database>,
    user: User,
) -> Result<Json<Vec<Payment>>, PaymentError> {
    Ok(Json(database.payments_of(&user).await?))
}
