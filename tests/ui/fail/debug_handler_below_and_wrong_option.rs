use axum::debug_handler;
use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global", retry = 3)]
#[debug_handler]
async fn pay(_: Tx<Postgres>) {}

fn main() {}
