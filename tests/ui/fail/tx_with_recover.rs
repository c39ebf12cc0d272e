use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global", recover = "hold")]
async fn pay(_: Tx<Postgres>) {}

fn main() {}
