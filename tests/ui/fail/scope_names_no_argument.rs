use idem::idempotent;

#[idempotent(scope = "account")]
async fn pay(user: String) {}

fn main() {}
