use idem::idempotent;

#[idempotent(scope = "global")]
async fn pay(name: &str) {}

fn main() {}
