use idem::idempotent;

#[idempotent(scope = "global" ttl = "24h")]
async fn pay() {}

fn main() {}
