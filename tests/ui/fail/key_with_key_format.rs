use idem::idempotent;

#[idempotent(scope = "global", key = "body", key_format = "uuid")]
async fn pay(body: String) {}

fn main() {}
