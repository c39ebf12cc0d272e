//! Patterns of arguments, seen by the handler as they are written and by expressions as references.

use axum::{
    Extension, Json, Router,
    extract::{Path, Query},
    routing::post,
};
use idem::idempotent;

use crate::support::{App, call, execution, replayed, replays};

#[derive(Clone, serde::Deserialize, serde::Serialize)]
struct Order {
    to: String,
    lines: Vec<u32>,
    note: Option<String>,
}

const ORDER: &str = r#"{"to":"ann","lines":[1,2,3],"note":"x"}"#;

#[idempotent(scope = "order.to", fingerprint = "order")]
async fn mutable(Json(mut order): Json<Order>) -> String {
    order.to.push('!');
    order.lines.push(4);
    format!("{} {} {:?}", execution(), order.to, order.lines)
}

#[idempotent(scope = "order.to")]
async fn mutable_whole(mut order: Json<Order>) -> String {
    order.to.push('!');
    order.0.lines.push(4);
    format!("{} {} {:?}", execution(), order.to, order.lines)
}

#[idempotent(scope = "to", fingerprint = "(to, lines)")]
async fn fields(Json(Order { mut to, mut lines, .. }): Json<Order>) -> String {
    to.push('!');
    lines.push(4);
    format!("{} {to} {lines:?}", execution())
}

#[idempotent(scope = "order.to", fingerprint = "(&order.to, order.lines.len())")]
async fn by_reference(Json(ref order @ Order { ref to, .. }): Json<Order>) -> String {
    format!("{} {to}! {:?}", execution(), [order.lines.as_slice(), &[4]].concat())
}

#[idempotent(scope = "(&order.to, order.lines[0])", fingerprint = "order.note")]
async fn mutable_reference(Json(ref mut order): Json<Order>) -> String {
    order.to.push('!');
    order.lines.push(4);
    format!("{} {} {:?}", execution(), order.to, order.lines)
}

#[tokio::test]
async fn patterns_bind_as_they_are_written() {
    let handlers = [
        post(mutable),
        post(mutable_whole),
        post(fields),
        post(by_reference),
        post(mutable_reference),
    ];
    for handler in handlers {
        let answer = replays(handler, call("/").json(ORDER)).await;
        assert!(answer.text().ends_with(" ann! [1, 2, 3, 4]"), "{answer:?}");
    }
}

#[idempotent(scope = "(org, id)", fingerprint = "(org, b)")]
async fn nested(
    Path((ref org, mut id)): Path<(String, u32)>,
    Query(query): Query<Vec<(String, String)>>,
    Extension([_, b, ..]): Extension<[u8; 4]>,
    _: String,
) -> String {
    id += 1;
    format!("{} {org} {id} {} {b}", execution(), query.len())
}

#[tokio::test]
async fn tuples_arrays_and_wildcards_are_patterns() {
    let app = Router::new()
        .route("/{org}/{id}", post(nested))
        .layer(Extension([0_u8, 1, 2, 3]))
        .with_state(App::new());
    let answer = replayed(&app, call("/acme/7?a=b")).await;
    assert!(answer.text().ends_with(" acme 8 1 1"), "{answer:?}");
}

#[idempotent(scope = "transfer.to")]
async fn transfer(Json(transfer): Json<Order>) -> String {
    format!("{} {}", execution(), transfer.to)
}

#[tokio::test]
async fn a_binding_may_have_the_handlers_name() {
    assert!(replays(post(transfer), call("/").json(ORDER)).await.text().ends_with(" ann"));
}

#[idempotent(scope = "(edge, args, request, state)", fingerprint = "print")]
async fn generated(
    Path((edge, args, request, state)): Path<(u8, u8, u8, u8)>,
    Json(print): Json<u8>,
) -> String {
    format!("{} {edge} {args} {request} {state} {print}", execution())
}

#[tokio::test]
async fn bindings_may_have_the_names_of_generated_locals() {
    let app = Router::new().route("/{a}/{b}/{c}/{d}", post(generated)).with_state(App::new());
    assert!(replayed(&app, call("/1/2/3/4").json("5")).await.text().ends_with(" 1 2 3 4 5"));
    let other_scope = call("/1/2/3/9").json("5").send(&app).await;
    assert!(!other_scope.is_replay() && other_scope.status == 200, "{other_scope:?}");
}
