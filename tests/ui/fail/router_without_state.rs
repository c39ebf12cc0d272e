use axum::{Router, routing::post};
use idem::idempotent;

#[idempotent(scope = "user")]
async fn pay(user: String) {}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
