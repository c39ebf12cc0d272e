use idem::idempotent;

struct Order {
    amount: u64,
}

#[idempotent(scope = "global", fingerprint = "(org, order)")]
async fn pay(org: String, order: Order) {}

fn main() {}
