use idem::idempotent;

#[idempotent(scope = "global", fingerprint = "order +")]
async fn pay(order: String) {}

fn main() {}
