use idem::idempotent;

struct Failure;

#[idempotent(scope = "global")]
async fn pay() -> Result<String, Failure> {
    Err(Failure)
}

fn main() {}
