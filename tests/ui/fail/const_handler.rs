use idem::idempotent;

#[idempotent(scope = "global")]
const async fn pay() {}

fn main() {}
