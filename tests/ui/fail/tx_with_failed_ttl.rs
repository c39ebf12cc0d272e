use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global", failed_ttl = "1h")]
async fn pay(_: Tx<Postgres>) {}

fn main() {}
