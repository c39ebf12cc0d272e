use idem::{Tx, idempotent};
use sqlx::Sqlite;

#[idempotent(scope = "global", isolation = "serializable")]
async fn pay(_: Tx<Sqlite>) {}

fn main() {}
