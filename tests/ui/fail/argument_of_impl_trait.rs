use idem::idempotent;

#[idempotent(scope = "global")]
async fn pay(value: impl Clone) {}

fn main() {}
