use idem::idempotent;

#[idempotent(scope = "global", key_format = "uid")]
async fn pay() {}

fn main() {}
