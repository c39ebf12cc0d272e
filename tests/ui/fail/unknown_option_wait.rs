use idem::idempotent;

#[idempotent(scope = "global", wait = "10s")]
async fn pay() {}

fn main() {}
