//! The last argument, in all the ways to read a body.

use axum::{
    Form, Json,
    body::{Body, Bytes},
    extract::{Multipart, RawForm, Request},
    response::Response,
    routing::post,
};
use idem::{Attempt, idempotent};

use crate::support::{Call, call, execution, replays};

async fn read(body: Body) -> String {
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    format!("{} {}", execution(), String::from_utf8(bytes.into()).unwrap())
}

#[idempotent(scope = "global")]
async fn request(_: Attempt, request: Request) -> String {
    assert_eq!(request.headers()["content-type"], "application/json");
    assert_eq!(request.uri().path(), "/");
    read(request.into_body()).await
}

#[idempotent(scope = "global")]
async fn body(body: Body) -> String {
    read(body).await
}

#[idempotent(scope = "global")]
async fn bytes(bytes: Bytes) -> String {
    read(bytes.into()).await
}

#[idempotent(scope = "global")]
async fn string(string: String) -> String {
    read(string.into()).await
}

#[idempotent(scope = "global")]
async fn json(Json(value): Json<serde_json::Value>) -> String {
    read(value.to_string().into()).await
}

#[tokio::test]
async fn a_body_is_read_as_the_handler_likes() {
    for handler in [post(request), post(body), post(bytes), post(string), post(json)] {
        let answer = replays(handler, call("/").json("{\"amount\":7}")).await;
        assert!(answer.text().ends_with(" {\"amount\":7}"), "{answer:?}");
    }
}

#[derive(serde::Deserialize)]
struct Order {
    amount: u32,
}

#[idempotent(scope = "global", fingerprint = "order.amount")]
async fn form(Form(order): Form<Order>) -> String {
    format!("{} {}", execution(), order.amount)
}

#[idempotent(scope = "global")]
async fn raw_form(RawForm(form): RawForm) -> Response {
    let text = String::from_utf8(form.into()).unwrap();
    Response::new(format!("{} {}", execution(), text.trim_start_matches("amount=")).into())
}

#[tokio::test]
async fn a_form_is_read() {
    for handler in [post(form), post(raw_form)] {
        let call = call("/").body("application/x-www-form-urlencoded", "amount=7");
        assert!(replays(handler, call).await.text().ends_with(" 7"));
    }
}

#[idempotent(scope = "global", max_body = "1KiB")]
async fn multipart(mut form: Multipart) -> String {
    let mut parts = vec![execution().to_string()];
    while let Some(field) = form.next_field().await.unwrap() {
        parts.push(field.name().unwrap().to_owned());
        parts.push(field.text().await.unwrap());
    }
    parts.join(" ")
}

fn multipart_call() -> Call {
    let field = |name, value| {
        format!("--X\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n")
    };
    let body = format!("{}{}--X--\r\n", field("to", "ann"), field("amount", "7"));
    call("/").body("multipart/form-data; boundary=X", &body)
}

#[tokio::test]
async fn a_multipart_form_is_read_field_by_field() {
    assert!(replays(post(multipart), multipart_call()).await.text().ends_with(" to ann amount 7"));
}

#[idempotent(scope = "global")]
async fn nothing() -> String {
    execution().to_string()
}

#[tokio::test]
async fn a_body_that_the_handler_ignores_still_belongs_to_the_request() {
    replays(post(nothing), call("/").json("1")).await;
    let app = axum::Router::new().route("/", post(nothing)).with_state(crate::support::App::new());
    call("/").json("1").send(&app).await;
    let other = call("/").json("2").send(&app).await;
    assert_eq!(other.status, 422);
}
