use idem::idempotent;

#[idempotent(scope = "global", key = "body", fallback_key = "body.len()")]
async fn pay(body: String) {}

fn main() {}
