use axum::extract::FromRef;
use idem::{Idem, Tx, idempotent};
use sqlx::{Postgres, Sqlite};

#[derive(Clone, FromRef)]
struct AppState {
    idem: Idem<Sqlite>,
}

#[idempotent(scope = "global")]
#[axum::debug_handler(state = AppState)]
async fn pay(_: Tx<Postgres>) {}

fn main() {}
