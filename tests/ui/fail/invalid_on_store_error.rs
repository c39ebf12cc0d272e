use idem::idempotent;

#[idempotent(scope = "global", on_store_error = "bypas")]
async fn pay() {}

fn main() {}
