use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global", retries = "3")]
async fn pay(_: Tx<Postgres>) {}

fn main() {}
