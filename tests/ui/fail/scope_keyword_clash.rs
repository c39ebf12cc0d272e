use idem::idempotent;

#[idempotent(scope = "global")]
async fn pay(global: String) {}

fn main() {}
