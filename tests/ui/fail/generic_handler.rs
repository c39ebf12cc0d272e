use idem::idempotent;

#[idempotent(scope = "global")]
async fn pay<T: Clone>(value: T) {}

fn main() {}
