use idem::idempotent;

#[idempotent(scope = "global", tll = "24h")]
async fn pay() {}

fn main() {}
