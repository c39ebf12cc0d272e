use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global", retries = 0)]
async fn pay(_: Tx<Postgres>) {}

fn main() {}
