use idem::{Tx, idempotent};
use sqlx::{Postgres, Sqlite};

#[idempotent(scope = "global")]
async fn pay(_: Tx<Postgres>, _: Tx<Sqlite>) {}

fn main() {}
