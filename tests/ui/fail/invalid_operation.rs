use idem::idempotent;

#[idempotent(scope = "global", operation = "")]
async fn pay() {}

fn main() {}
