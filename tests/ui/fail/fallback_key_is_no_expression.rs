use idem::idempotent;

#[idempotent(scope = "global", fallback_key = "")]
async fn pay(body: String) {}

fn main() {}
