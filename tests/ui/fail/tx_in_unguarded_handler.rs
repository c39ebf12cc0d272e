use axum::{Router, routing::post};
use idem::Tx;
use sqlx::Postgres;

async fn pay(_: Tx<Postgres>) {}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
