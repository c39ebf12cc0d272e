use idem::idempotent;

struct Payments;

impl Payments {
    #[idempotent(scope = "global")]
    async fn pay(&self) {}
}

fn main() {}
