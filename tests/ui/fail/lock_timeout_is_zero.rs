use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global", lock_timeout = "0s")]
async fn pay(_: Tx<Postgres>) {}

fn main() {}
