use idem::{Attempt, idempotent};

#[idempotent(scope = "global", fingerprint = "(attempt.number(), &body)")]
async fn pay(attempt: Attempt, body: String) {}

fn main() {}
