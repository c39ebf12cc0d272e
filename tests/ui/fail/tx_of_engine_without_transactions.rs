use axum::{Router, extract::FromRef, routing::post};
use idem::{Idem, MemoryStore, Tx, idempotent};
use sqlx::Postgres;

#[derive(Clone, FromRef)]
struct AppState {
    idem: Idem,
}

#[idempotent(scope = "global")]
async fn pay(_: Tx<Postgres>) {}

fn main() {
    let idem = Idem::builder(MemoryStore::new()).build().unwrap();
    let _: Router = Router::new().route("/payments", post(pay)).with_state(AppState { idem });
}
