use idem::idempotent;

#[idempotent(scope = "global", ttl = "tomorrow")]
async fn pay() {}

fn main() {}
