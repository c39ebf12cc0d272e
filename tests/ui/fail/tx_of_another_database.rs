use axum::{Router, extract::FromRef, routing::post};
use idem::{Idem, Tx, idempotent};
use sqlx::{Postgres, Sqlite};

#[derive(Clone, FromRef)]
struct AppState {
    idem: Idem<Sqlite>,
}

#[idempotent(scope = "global")]
async fn pay(_: Tx<Postgres>) {}

fn main() {
    let _: Router<AppState> = Router::new().route("/payments", post(pay));
}
