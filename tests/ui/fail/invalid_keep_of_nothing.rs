use idem::idempotent;

#[idempotent(scope = "global", keep = "!429")]
async fn pay() {}

fn main() {}
