use idem::idempotent;

#[idempotent(scope = "let id = user;")]
async fn pay(user: String) {}

fn main() {}
