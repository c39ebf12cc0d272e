use idem::idempotent;

#[idempotent(scope = "global", header = "Idempotency Key")]
async fn pay() {}

fn main() {}
