use idem::idempotent;

#[idempotent(scope = "global", ttl = "10s", lease = "1m")]
async fn pay() {}

fn main() {}
