use idem::idempotent;

#[idempotent(scope = "global", on_conflict = "reject", wait = "5s")]
async fn create() {}

fn main() {}
