use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global", lease = "1m")]
async fn pay(_: Tx<Postgres>) {}

fn main() {}
