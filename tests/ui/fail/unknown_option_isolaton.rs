use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global", isolaton = "serializable")]
async fn pay(_: Tx<Postgres>) {}

fn main() {}
