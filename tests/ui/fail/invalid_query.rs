use idem::idempotent;

#[idempotent(scope = "global", query = "no")]
async fn pay() {}

fn main() {}
