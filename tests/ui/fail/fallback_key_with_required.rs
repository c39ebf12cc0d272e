use idem::idempotent;

#[idempotent(scope = "global", fallback_key = "body", required = true)]
async fn pay(body: String) {}

fn main() {}
