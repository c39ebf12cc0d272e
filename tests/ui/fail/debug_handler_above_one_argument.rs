use axum::{body::Bytes, extract::FromRef};
use idem::{Idem, idempotent};

#[derive(Clone, FromRef)]
struct AppState {
    idem: Idem,
}

#[axum::debug_handler(state = AppState)]
#[idempotent(scope = "global")]
async fn pay(body: Bytes) -> Bytes {
    body
}

fn main() {}
