//! Every option, at each kind of value that it takes.

use axum::{Json, Router, extract::FromRef, routing::post};
use idem::{Attempt, Idem, idempotent};

#[derive(Clone, FromRef)]
struct AppState {
    idem: Idem,
}

#[idempotent(scope = "global")]
async fn scope_keyword() {}

#[idempotent(
    scope = "order.to",
    ttl = "1h 30m",
    failed_ttl = "10min",
    lease = "500ms",
    operation = "orders.create",
    header = "X-Request-Id",
    required = true,
    key_format = "uuid4",
    fingerprint = "order",
    recover = "hold",
    keep = "<500, !404, 502-503",
    query = false,
    max_body = "2MiB",
    max_response = 65_536,
    on_store_error = "refuse"
)]
async fn everything(Json(order): Json<Order>) -> Json<Order> {
    Json(order)
}

#[derive(serde::Deserialize, serde::Serialize)]
struct Order {
    to: String,
}

#[idempotent(scope = "global", key_format = "any", recover = "retry", fingerprint = "json")]
async fn defaults_spelled_out() {}

#[idempotent(scope = "global", key_format = "uuid", query = true, fingerprint = "bytes")]
async fn other_choices() {}

#[idempotent(scope = "global", keep = "2xx", fingerprint = "none", max_body = 0, max_response = 0)]
async fn extremes() {}

#[idempotent(scope = "global", keep = "404", ttl = "30s", lease = "30s")]
async fn ttl_as_long_as_the_lease() {}

#[idempotent(scope = "global", required = false)]
async fn without_key(attempt: Option<Attempt>) -> String {
    attempt.map(|it| it.key()).unwrap_or_default()
}

#[idempotent(scope = "global", on_store_error = "bypass")]
async fn without_store(_: Option<Attempt>) {}

#[idempotent(scope = "global", required = true, on_store_error = "refuse")]
async fn with_attempt(_: Attempt) {}

#[idempotent(scope = "global", key = "order.to", fingerprint = "json", query = true)]
async fn with_derived_key(_: Attempt, Json(order): Json<Order>) -> String {
    order.to
}

#[idempotent(scope = "global", key = "order.to", on_store_error = "bypass")]
async fn with_derived_key_without_store(_: Option<Attempt>, Json(order): Json<Order>) -> String {
    order.to
}

#[idempotent(
    scope = "global",
    fallback_key = "(order.to, 1)",
    header = "X-Request-Id",
    key_format = "uuid"
)]
async fn with_fallback_key(_: Attempt, Json(order): Json<Order>) -> String {
    order.to
}

#[idempotent(scope = "global", ttl = "forever", lease = "48h")]
async fn kept_forever() {}

#[idempotent {
    scope = "global"
}]
async fn other_delimiters() {}

fn main() {
    let _: Router<AppState> = Router::new()
        .route("/1", post(scope_keyword))
        .route("/2", post(everything))
        .route("/3", post(defaults_spelled_out))
        .route("/4", post(other_choices))
        .route("/5", post(extremes))
        .route("/6", post(ttl_as_long_as_the_lease))
        .route("/7", post(without_key))
        .route("/8", post(without_store))
        .route("/9", post(with_attempt))
        .route("/10", post(other_delimiters))
        .route("/11", post(with_derived_key))
        .route("/12", post(with_derived_key_without_store))
        .route("/13", post(with_fallback_key))
        .route("/14", post(kept_forever));
}
