use axum::http::Method as M;
use idem::idempotent;

#[idempotent(scope = "global")]
async fn pay(
    _: M,
    _: M,
    _: M,
    _: M,
    _: M,
    _: M,
    _: M,
    _: M,
    _: M,
    _: M,
    _: M,
    _: M,
    _: M,
    _: M,
    _: M,
    _: M,
    seventeenth: M,
) {
}

fn main() {}
