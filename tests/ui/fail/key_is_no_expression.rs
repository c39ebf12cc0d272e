use idem::idempotent;

#[idempotent(scope = "global", key = "body,")]
async fn pay(body: String) {}

fn main() {}
