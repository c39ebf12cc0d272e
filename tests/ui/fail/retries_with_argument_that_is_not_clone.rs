use axum::{Json, Router, extract::FromRef, routing::post};
use idem::{Idem, Tx, idempotent};
use sqlx::Postgres;

#[derive(Clone, FromRef)]
struct AppState {
    idem: Idem<Postgres>,
}

#[derive(serde::Deserialize)]
struct Order {
    _to: String,
}

#[idempotent(scope = "global", retries = 3)]
async fn pay(_: Tx<Postgres>, _: Json<Order>) {}

fn main() {
    let _: Router<AppState> = Router::new().route("/payments", post(pay));
}
