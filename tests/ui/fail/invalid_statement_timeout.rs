use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global", statement_timeout = 5)]
async fn pay(_: Tx<Postgres>) {}

fn main() {}
