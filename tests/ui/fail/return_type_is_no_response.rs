use idem::idempotent;

struct Payment;

#[idempotent(scope = "global")]
async fn pay() -> Payment {
    Payment
}

fn main() {}
