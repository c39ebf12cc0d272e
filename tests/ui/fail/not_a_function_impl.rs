use idem::idempotent;

struct Payments;

#[idempotent(scope = "global")]
impl Payments {
    async fn pay(self) {}
}

fn main() {}
