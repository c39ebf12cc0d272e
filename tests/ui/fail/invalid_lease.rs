use idem::idempotent;

#[idempotent(scope = "global", lease = "30 parsecs")]
async fn pay() {}

fn main() {}
