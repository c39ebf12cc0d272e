use idem::idempotent;

#[idempotent(scope = "amount")]
async fn pay(axum::Json(amount): axum::Json<f64>) {}

fn main() {}
