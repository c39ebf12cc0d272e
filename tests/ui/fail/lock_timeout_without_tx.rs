use idem::idempotent;

#[idempotent(scope = "global", lock_timeout = "5s")]
async fn pay() {}

fn main() {}
