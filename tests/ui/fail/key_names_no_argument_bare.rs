use idem::idempotent;

#[idempotent(scope = "global", key = (boby, 1))]
async fn pay(body: String) {}

fn main() {}
