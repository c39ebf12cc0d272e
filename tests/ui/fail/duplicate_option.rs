use idem::idempotent;

#[idempotent(scope = "global", ttl = "24h", ttl = "48h")]
async fn pay() {}

fn main() {}
