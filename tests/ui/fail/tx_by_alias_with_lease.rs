use idem::{Tx, idempotent};

type Transaction = Tx<sqlx::Sqlite>;

#[idempotent(scope = "global", lease = "1m")]
async fn pay(_: Transaction) {}

fn main() {}
