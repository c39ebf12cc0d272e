use axum::{
    Router,
    extract::{FromRef, State},
    routing::post,
};
use idem::{Idem, idempotent};

#[derive(Clone, FromRef)]
struct AppState {
    idem: Idem,
}

#[derive(Clone)]
struct Mailer;

#[idempotent(scope = "global")]
async fn pay(_: State<Mailer>, _: String) {}

fn main() {
    let _: Router<AppState> = Router::new().route("/payments", post(pay));
}
