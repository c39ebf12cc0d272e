use idem::idempotent;

#[idempotent(scope = "global", retries = 3)]
async fn pay() {}

fn main() {}
