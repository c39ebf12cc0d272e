use idem::idempotent;

#[idempotent(scope = "global", statement_timeout = "5s")]
async fn pay() {}

fn main() {}
