use idem::idempotent;

#[idempotent(scope = "user id")]
async fn pay(user: String) {}

fn main() {}
