use idem::idempotent;

#[idempotent(scope = "global", ttl = "0s")]
async fn pay() {}

fn main() {}
