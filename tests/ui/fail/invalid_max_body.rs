use idem::idempotent;

#[idempotent(scope = "global", max_body = "2 MiBs")]
async fn pay() {}

fn main() {}
