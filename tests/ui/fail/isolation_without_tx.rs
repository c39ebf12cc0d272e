use idem::idempotent;

#[idempotent(scope = "global", isolation = "serializable")]
async fn pay() {}

fn main() {}
