use axum::{Router, routing::post};
use idem::idempotent;

#[derive(Clone)]
struct AppState;

#[idempotent(scope = "user")]
async fn pay(user: String) {}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay)).with_state(AppState);
}
