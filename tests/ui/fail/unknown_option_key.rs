use idem::idempotent;

#[idempotent(scope = "global", key = "order.id")]
async fn pay() {}

fn main() {}
