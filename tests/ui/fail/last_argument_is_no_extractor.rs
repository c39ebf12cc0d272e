use axum::{Router, extract::FromRef, routing::post};
use idem::{Idem, idempotent};

#[derive(Clone, FromRef)]
struct AppState {
    idem: Idem,
}

#[idempotent(scope = "global")]
async fn pay(_: u32) {}

fn main() {
    let _: Router<AppState> = Router::new().route("/payments", post(pay));
}
