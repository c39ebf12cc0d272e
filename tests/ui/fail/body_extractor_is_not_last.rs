use axum::{Json, Router, extract::FromRef, http::HeaderMap, routing::post};
use idem::{Idem, idempotent};

#[derive(Clone, FromRef)]
struct AppState {
    idem: Idem,
}

#[idempotent(scope = "global")]
async fn pay(_: Json<u64>, _: HeaderMap) {}

fn main() {
    let _: Router<AppState> = Router::new().route("/payments", post(pay));
}
