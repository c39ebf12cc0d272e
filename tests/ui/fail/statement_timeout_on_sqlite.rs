use idem::{Tx, idempotent};
use sqlx::Sqlite;

#[idempotent(scope = "global", statement_timeout = "5s")]
async fn pay(_: Tx<Sqlite>) {}

fn main() {}
