use idem::{Attempt, idempotent};

#[idempotent(scope = "global", fallback_key = "(attempt.number(), &body)")]
async fn pay(attempt: Attempt, body: String) {}

fn main() {}
