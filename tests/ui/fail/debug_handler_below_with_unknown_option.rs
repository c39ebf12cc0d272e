use idem::idempotent;

#[idempotent(scope = "global")]
#[axum::debug_handler(stat = ())]
async fn pay() {}

fn main() {}
