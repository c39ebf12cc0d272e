use idem::idempotent;

#[idempotent(scope = "global", recover = "holds")]
async fn pay() {}

fn main() {}
