use idem::idempotent;

#[idempotent(scope = "global", on_conflict = "waits")]
async fn create() {}

fn main() {}
