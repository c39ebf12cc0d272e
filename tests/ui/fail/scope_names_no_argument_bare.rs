use idem::idempotent;

#[idempotent(scope = account.id)]
async fn pay(user: String) {}

fn main() {}
