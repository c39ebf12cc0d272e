use idem::idempotent;

#[idempotent(scope = "")]
async fn pay(user: String) {}

fn main() {}
