//! x
use axum::{
    Json, Router,
    body::Body,
    extract::FromRef,
    http::{Request, StatusCode},
    routing::post,
};
use idem::{Attempt, Idem, MemoryStore, idempotent};
use tower::ServiceExt;

#[derive(Clone, FromRef)]
struct AppState {
    idem: Idem,
}
#[derive(serde::Deserialize, serde::Serialize)]
struct Order {
    amount: i64,
    to: String,
}
#[idempotent(scope = "order.to", ttl = "24h", fingerprint = "(order.amount, &order.to)")]
async fn pay(
    attempt: Attempt,
    Json(mut order): Json<Order>,
) -> Result<(StatusCode, Json<Order>), StatusCode> {
    order.amount += attempt.number() as i64;
    Ok((StatusCode::CREATED, Json(order)))
}

#[tokio::test]
async fn it_works() {
    let state = AppState { idem: Idem::builder(MemoryStore::new()).build().unwrap() };
    let app = Router::new().route("/pay", post(pay)).with_state(state);
    for _ in 0..2 {
        let r = app
            .clone()
            .oneshot(
                Request::post("/pay")
                    .header("idempotency-key", "k")
                    .header("content-type", "application/json")
                    .body(Body::from("{\"amount\":1,\"to\":\"bob\"}"))
                    .unwrap(),
            )
            .await
            .unwrap();
        println!("{r:?}");
    }
}
