use idem::idempotent;

#[idempotent]
async fn pay() {}

fn main() {}
