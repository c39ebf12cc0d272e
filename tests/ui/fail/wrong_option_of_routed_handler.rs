use axum::{Router, extract::FromRef, routing::post};
use idem::{Attempt, Idem, idempotent};

#[derive(Clone, FromRef)]
struct AppState {
    idem: Idem,
}

// Reported alone, although axum itself knows no `Attempt`.
#[idempotent(scope = "global", ttl = "1 fortnight")]
async fn pay(attempt: Attempt) -> String {
    attempt.key()
}

fn main() {
    let _: Router<AppState> = Router::new().route("/payments", post(pay));
}
