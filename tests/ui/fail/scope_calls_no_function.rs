use idem::idempotent;

#[idempotent(scope = "tenant_of(&user)")]
async fn pay(user: String) {}

fn main() {}
