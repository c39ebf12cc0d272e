use idem::idempotent;

#[idempotent(scope = "global", commit_on_error = true)]
async fn pay() {}

fn main() {}
