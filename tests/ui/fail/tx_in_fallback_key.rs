use idem::{Tx, idempotent};

#[idempotent(scope = "global", fallback_key = "name_of(tx)")]
async fn pay(tx: Tx<sqlx::Postgres>) {}

fn name_of(_: &Tx<sqlx::Postgres>) -> String {
    String::new()
}

fn main() {}
