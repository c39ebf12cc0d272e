use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global")]
async fn pay(_: Tx<Postgres>, _: String, _: Tx<Postgres>) {}

fn main() {}
