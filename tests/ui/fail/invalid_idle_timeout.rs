use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global", idle_timeout = "5 parsecs")]
async fn pay(_: Tx<Postgres>) {}

fn main() {}
