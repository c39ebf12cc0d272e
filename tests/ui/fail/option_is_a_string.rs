use idem::idempotent;

#[idempotent("user")]
async fn pay(user: String) {}

fn main() {}
