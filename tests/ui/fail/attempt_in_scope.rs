use idem::{Attempt, idempotent};

#[idempotent(scope = "attempt.key()")]
async fn pay(attempt: Attempt) {}

fn main() {}
