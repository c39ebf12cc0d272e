use idem::idempotent;

#[idempotent(scope = "global", keep = "5xx, <")]
async fn pay() {}

fn main() {}
