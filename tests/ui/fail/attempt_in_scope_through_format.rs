use idem::idempotent;

#[idempotent(scope = "format!(\"{attempt:?}\")")]
async fn pay(attempt: idem::Attempt) {}

fn main() {}
