use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(
    scope = "global",
    isolation = "serializable",
    isolation = "repeatable read",
    lock_timeout = "1s",
    lock_timeout = "2s",
    statement_timeout = "1s",
    statement_timeout = "2s",
    idle_timeout = "1s",
    idle_timeout = "2s",
    commit_on_error = true,
    commit_on_error = false,
    retries = 1,
    retries = 2
)]
async fn pay(_: Tx<Postgres>) {}

fn main() {}
