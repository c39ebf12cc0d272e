use idem::idempotent;

#[idempotent(scope = "(user, account.id)")]
async fn pay(user: String) {}

fn main() {}
