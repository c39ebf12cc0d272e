use idem::idempotent;

#[idempotent(scope = "global", key = "body", required = true)]
async fn pay(body: String) {}

fn main() {}
