//! Other attributes above and below ours.

use axum::{Json, http::HeaderMap, routing::post};
use idem::{Attempt, idempotent};
use tracing::{Span, instrument};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::support::{App, call, execution, replayed, replays};

fn span() -> String {
    Span::current().metadata().map_or("none", tracing::Metadata::name).to_owned()
}

#[instrument(skip_all)]
#[idempotent(scope = "body")]
async fn instrument_above(attempt: Attempt, body: String) -> String {
    tokio::task::yield_now().await;
    format!("{} {} {} {body}", execution(), span(), attempt.number())
}

#[idempotent(scope = "body")]
#[instrument(skip_all, fields(number = attempt.number()))]
async fn instrument_below(attempt: Attempt, body: String) -> String {
    tokio::task::yield_now().await;
    format!("{} {} {} {body}", execution(), span(), attempt.number())
}

#[tokio::test]
async fn a_span_has_the_name_of_the_handler() {
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry());
    let text = call("/").body("text/plain", "x");
    let above = replays(post(instrument_above), text.clone()).await;
    assert!(above.text().ends_with(" instrument_above 1 x"), "{above:?}");
    let below = replays(post(instrument_below), text).await;
    assert!(below.text().ends_with(" instrument_below 1 x"), "{below:?}");
}

#[derive(serde::Deserialize, serde::Serialize, utoipa::ToSchema)]
struct Order {
    amount: u32,
}

/// Creates an order.
///
/// Once.
#[utoipa::path(post, path = "/orders", tag = "orders", responses((status = 200, body = Order)))]
#[idempotent(scope = "global")]
async fn documented(_: Attempt, Json(order): Json<Order>) -> Json<Order> {
    Json(Order { amount: order.amount + execution() })
}

#[tokio::test]
async fn utoipa_documents_and_routes_the_handler() {
    let (router, api) =
        OpenApiRouter::new().routes(routes!(documented)).with_state(App::new()).split_for_parts();
    replayed(&router, call("/orders").json("{\"amount\":7}")).await;
    let operation = api.paths.paths["/orders"].post.as_ref().unwrap();
    assert_eq!(operation.summary.as_deref(), Some("Creates an order."));
    assert_eq!(operation.description.as_deref(), Some("Once."));
    assert_eq!(operation.operation_id.as_deref(), Some("documented"));
    assert!(operation.request_body.is_some(), "the arguments are documented");
}

#[idempotent(scope = "global")]
#[axum::debug_handler(state = App)]
async fn debugged(_: HeaderMap, Json(amount): Json<u32>) -> String {
    format!("{} {amount}", execution())
}

#[idempotent(scope = "global")]
#[axum::debug_handler(state = App)]
async fn debugged_with_attempt(_: Attempt, Json(amount): Json<u32>) -> String {
    format!("{} {amount}", execution())
}

#[tokio::test]
async fn debug_handler_stands_below() {
    for handler in [post(debugged), post(debugged_with_attempt)] {
        assert!(replays(handler, call("/").json("7")).await.text().ends_with(" 7"));
    }
}

#[utoipa::path(post, path = "/all")]
#[instrument(skip_all)]
#[idempotent(scope = "global")]
#[axum::debug_handler(state = App)]
#[allow(unused_variables, reason = "the body is not needed")]
async fn all_at_once(headers: HeaderMap, body: String) -> String {
    format!("{} {}", execution(), span())
}

#[tokio::test]
async fn all_stand_together() {
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry());
    let router = OpenApiRouter::new().routes(routes!(all_at_once)).with_state(App::new());
    let answer = replayed(&router.into(), call("/all")).await;
    assert!(answer.text().ends_with(" all_at_once"));
}

/// Documented.
#[cfg(not(any()))]
#[idempotent(scope = "global")]
async fn configured() -> String {
    format!("{} in", execution())
}

#[cfg(any())]
#[idempotent(scope = "global")]
async fn configured() -> Nothing {
    Nothing
}

#[idempotent(scope = "global")]
#[cfg(any())]
async fn configured_below() -> Nothing {
    Nothing
}

#[idempotent(scope = "global")]
#[cfg(not(any()))]
async fn configured_below() -> String {
    format!("{} in", execution())
}

#[tokio::test]
async fn conditions_decide_on_everything_that_is_generated() {
    assert!(replays(post(configured), call("/")).await.text().ends_with(" in"));
    assert!(replays(post(configured_below), call("/")).await.text().ends_with(" in"));
}

#[idempotent(scope = "global")]
#[expect(unused_variables, clippy::unused_async, reason = "a handler of this shape")]
async fn expected(body: String) -> String {
    execution().to_string()
}

#[deprecated(since = "2.0.0", note = "use another")]
#[idempotent(scope = "global")]
async fn deprecated() -> String {
    execution().to_string()
}

#[tokio::test]
async fn lints_are_the_handlers() {
    replays(post(expected), call("/")).await;
    #[expect(deprecated, reason = "to see that it is")]
    let deprecated = post(deprecated);
    replays(deprecated, call("/")).await;
}
