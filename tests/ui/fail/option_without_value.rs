use idem::idempotent;

#[idempotent(scope = "global", ttl)]
async fn pay() {}

fn main() {}
