use idem::idempotent;

#[idempotent(scope = "global", key = "body", header = "X-Request-Id", required = false)]
async fn pay(body: String) {}

fn main() {}
