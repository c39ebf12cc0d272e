use idem::idempotent;

#[idempotent(scope = "global", wait = "5s")]
async fn create() {}

fn main() {}
