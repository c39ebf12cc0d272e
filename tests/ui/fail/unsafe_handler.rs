use idem::idempotent;

#[idempotent(scope = "global")]
async unsafe fn pay() {}

fn main() {}
