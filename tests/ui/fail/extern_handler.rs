use idem::idempotent;

#[idempotent(scope = "global")]
async extern "C" fn pay() {}

fn main() {}
