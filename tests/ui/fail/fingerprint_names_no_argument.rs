use idem::idempotent;

struct Order {
    amount: u64,
}

#[idempotent(scope = "global", fingerprint = "ordr.amount")]
async fn pay(axum::Json(order): axum::Json<Order>) {}

fn main() {}
