use idem::{Tx, idempotent};
use sqlx::Sqlite;

#[idempotent(scope = "global", lock_timeout = "5s")]
async fn pay(_: Tx<Sqlite>) {}

fn main() {}
