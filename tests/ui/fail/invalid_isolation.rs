use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global", isolation = "snapshot")]
async fn pay(_: Tx<Postgres>) {}

fn main() {}
