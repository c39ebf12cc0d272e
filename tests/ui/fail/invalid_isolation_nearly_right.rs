use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global", isolation = "read commited")]
async fn pay(_: Tx<Postgres>) {}

fn main() {}
