use axum::{Router, routing::post};
use idem::{Idem, NotFinal, idempotent};

#[idempotent(scope = "global")]
async fn pay() -> NotFinal<u64> {
    NotFinal(1)
}

fn main() {
    let _: Router<Idem> = Router::new().route("/", post(pay));
}
