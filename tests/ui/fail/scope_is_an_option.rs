use idem::idempotent;

#[idempotent(scope = "user")]
async fn pay(user: Option<String>) {}

fn main() {}
