use std::sync::Arc;

use axum::{Router, routing::post};
use idem::{Idem, Store, Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global")]
async fn pay(_: Tx<Postgres>, _: String) {}

fn app(store: Arc<dyn Store>) -> Router {
    let idem = Idem::builder(store).build().unwrap();
    Router::new().route("/payments", post(pay)).with_state(idem)
}

fn main() {
    let _ = app;
}
