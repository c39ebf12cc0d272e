use idem::idempotent;

#[idempotent(scope = "global", failed_ttl = 24)]
async fn pay() {}

fn main() {}
