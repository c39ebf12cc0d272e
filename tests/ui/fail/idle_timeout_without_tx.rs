use idem::idempotent;

#[idempotent(scope = "global", idle_timeout = "5s")]
async fn pay() {}

fn main() {}
