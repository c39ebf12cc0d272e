use idem::idempotent;

#[idempotent(scope = "global", ttl = "forever", failed_ttl = "forever")]
async fn pay() {}

fn main() {}
