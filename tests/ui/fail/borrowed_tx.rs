use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global")]
async fn pay(_: &mut Tx<Postgres>) {}

fn main() {}
