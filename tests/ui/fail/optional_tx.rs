use axum::{Router, extract::FromRef, routing::post};
use idem::{Idem, Tx, idempotent};
use sqlx::Postgres;

#[derive(Clone, FromRef)]
struct AppState {
    idem: Idem<Postgres>,
}

#[idempotent(scope = "global", required = false)]
async fn pay(_: Option<Tx<Postgres>>) {}

fn main() {
    let _: Router<AppState> = Router::new().route("/payments", post(pay));
}
