use idem::idempotent;

#[idempotent(scope = "global", on_conflict = "wait")]
async fn pay() {}

fn main() {}
