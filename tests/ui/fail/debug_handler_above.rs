use axum::{body::Bytes, extract::FromRef, http::HeaderMap};
use idem::{Idem, idempotent};

#[derive(Clone, FromRef)]
struct AppState {
    idem: Idem,
}

#[axum::debug_handler(state = AppState)]
#[idempotent(scope = "global")]
async fn pay(headers: HeaderMap, body: Bytes) -> String {
    format!("{headers:?} {body:?}")
}

fn main() {}
