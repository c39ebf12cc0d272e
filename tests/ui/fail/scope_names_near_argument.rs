use idem::idempotent;

#[idempotent(scope = "usr")]
async fn pay(user: String) {}

fn main() {}
