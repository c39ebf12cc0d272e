use idem::{Attempt, idempotent};

#[idempotent(scope = "global", on_store_error = "bypass")]
async fn pay(_: Attempt) {}

fn main() {}
