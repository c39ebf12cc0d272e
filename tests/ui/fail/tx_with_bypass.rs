use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global", on_store_error = "bypass")]
async fn pay(_: Tx<Postgres>) {}

fn main() {}
