use idem::{Attempt, idempotent};

#[idempotent(scope = "global", required = false)]
async fn pay(_: Attempt) {}

fn main() {}
