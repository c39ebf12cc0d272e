use idem::idempotent;

struct Order {
    amount: u64,
}

#[idempotent(scope = "global", fingerprint = "order")]
async fn pay(order: Order) {}

fn main() {}
