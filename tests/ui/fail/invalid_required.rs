use idem::idempotent;

#[idempotent(scope = "global", required = "false")]
async fn pay() {}

fn main() {}
