use idem::idempotent;

#[idempotent(scope = "global", ttl = , lease = "30s")]
async fn pay() {}

fn main() {}
