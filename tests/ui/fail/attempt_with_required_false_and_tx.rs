use idem::{Attempt, Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global", required = false)]
async fn pay(_: Attempt, _: Tx<Postgres>) {}

fn main() {}
