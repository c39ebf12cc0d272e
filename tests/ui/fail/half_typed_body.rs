use idem::idempotent;

#[idempotent(scope = "global")]
async fn pay(body: String) -> String {
    body.
}

fn main() {}
