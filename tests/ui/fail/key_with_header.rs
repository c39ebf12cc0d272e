use idem::idempotent;

#[idempotent(scope = "global", key = "body", header = "X-Request-Id")]
async fn pay(body: String) {}

fn main() {}
