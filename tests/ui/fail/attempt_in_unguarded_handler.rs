use axum::{Router, routing::post};
use idem::Attempt;

async fn pay(attempt: Attempt) -> String {
    attempt.key()
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
