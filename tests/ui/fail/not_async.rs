use idem::idempotent;

#[idempotent(scope = "global")]
fn pay() {}

fn main() {}
