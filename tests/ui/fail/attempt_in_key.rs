use idem::{Attempt, idempotent};

#[idempotent(scope = "global", key = "attempt.key()")]
async fn pay(attempt: Attempt) {}

fn main() {}
