use axum::{Router, extract::FromRef, routing::post};
use idem::{Idem, idempotent};

#[derive(Clone, FromRef)]
struct AppState {
    idem: Idem,
}

#[idempotent(scope = "global")]
fn pay(body: String) -> String {
    body
}

fn main() {
    let _: Router<AppState> = Router::new().route("/", post(pay));
}
