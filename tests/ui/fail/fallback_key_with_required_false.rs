use idem::idempotent;

#[idempotent(scope = "global", fallback_key = "body", required = false)]
async fn pay(body: String) {}

fn main() {}
