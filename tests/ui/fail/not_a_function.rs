use idem::idempotent;

#[idempotent(scope = "global")]
struct Payments;

fn main() {}
