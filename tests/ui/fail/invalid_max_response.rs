use idem::idempotent;

#[idempotent(scope = "global", max_response = -1)]
async fn pay() {}

fn main() {}
