use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global", fingerprint = "account(&tx)")]
async fn pay(tx: Tx<Postgres>) {}

fn account(_: &Tx<Postgres>) -> u64 {
    1
}

fn main() {}
