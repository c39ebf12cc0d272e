use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global", commit_on_error = "true")]
async fn pay(_: Tx<Postgres>) {}

fn main() {}
