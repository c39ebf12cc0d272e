use idem::idempotent;

#[idempotent(scope = "user")]
async fn pay() {}

fn main() {}
