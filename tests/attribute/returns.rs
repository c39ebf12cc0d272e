//! What a handler may return.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::{
    Json,
    body::Body,
    http::{HeaderName, StatusCode, header::LOCATION},
    response::{AppendHeaders, Html, IntoResponse, NoContent, Redirect, Response},
    routing::post,
};
use idem::idempotent;

use crate::support::{call, execution, replays};

static EXECUTIONS: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];

#[idempotent(scope = "global")]
async fn unit() {
    EXECUTIONS[0].fetch_add(1, Ordering::SeqCst);
}

#[idempotent(scope = "global")]
async fn status() -> StatusCode {
    EXECUTIONS[1].fetch_add(1, Ordering::SeqCst);
    StatusCode::ACCEPTED
}

#[idempotent(scope = "global")]
async fn no_content() -> NoContent {
    EXECUTIONS[2].fetch_add(1, Ordering::SeqCst);
    NoContent
}

#[idempotent(scope = "global")]
async fn redirect() -> Redirect {
    EXECUTIONS[3].fetch_add(1, Ordering::SeqCst);
    Redirect::to("/orders/1")
}

#[tokio::test]
async fn answers_without_a_body() {
    assert_eq!(replays(post(unit), call("/")).await.status, StatusCode::OK);
    assert_eq!(replays(post(status), call("/")).await.status, StatusCode::ACCEPTED);
    assert_eq!(replays(post(no_content), call("/")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(replays(post(redirect), call("/")).await.headers[LOCATION], "/orders/1");
    for executions in &EXECUTIONS {
        assert_eq!(executions.load(Ordering::SeqCst), 1);
    }
}

#[idempotent(scope = "global")]
async fn string() -> String {
    execution().to_string()
}

#[idempotent(scope = "global")]
async fn html() -> Html<String> {
    Html(execution().to_string())
}

#[idempotent(scope = "global")]
async fn response() -> Response {
    Response::new(Body::from(execution().to_string()))
}

#[idempotent(scope = "global")]
async fn json() -> Json<u32> {
    Json(execution())
}

#[idempotent(scope = "global")]
async fn anything() -> impl IntoResponse {
    execution().to_string()
}

#[idempotent(scope = "global")]
async fn result_of_anything() -> Result<impl IntoResponse, impl IntoResponse> {
    if execution() == u32::MAX { Err(StatusCode::IM_A_TEAPOT) } else { Ok(execution().to_string()) }
}

#[idempotent(scope = "global")]
async fn axum_result() -> axum::response::Result<String> {
    Ok(execution().to_string())
}

#[tokio::test]
async fn answers_with_a_body() {
    let handlers = [
        post(string),
        post(html),
        post(response),
        post(json),
        post(anything),
        post(result_of_anything),
        post(axum_result),
    ];
    for handler in handlers {
        let answer = replays(handler, call("/")).await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.text().parse::<u32>().unwrap();
    }
}

#[idempotent(scope = "global")]
async fn tuple() -> (StatusCode, [(HeaderName, &'static str); 1], Json<u32>) {
    (StatusCode::CREATED, [(LOCATION, "/orders/1")], Json(execution()))
}

#[idempotent(scope = "global")]
async fn repeated_headers() -> impl IntoResponse {
    (AppendHeaders([("link", "</1>"), ("link", "</2>")]), execution().to_string())
}

#[tokio::test]
async fn tuples_keep_status_and_headers() {
    let answer = replays(post(tuple), call("/")).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.headers[LOCATION], "/orders/1");
    let answer = replays(post(repeated_headers), call("/")).await;
    assert_eq!(answer.headers.get_all("link").iter().collect::<Vec<_>>(), ["</1>", "</2>"]);
}

struct Refused(u32);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (StatusCode::PAYMENT_REQUIRED, self.0.to_string()).into_response()
    }
}

#[idempotent(scope = "global")]
async fn early_return(body: String) -> Result<Json<u32>, Refused> {
    if body.is_empty() {
        return Err(Refused(execution()));
    }
    let number: u32 = body.parse().map_err(|_| Refused(execution()))?;
    Ok(Json(number))
}

#[tokio::test]
async fn an_error_that_is_final_is_replayed_too() {
    assert_eq!(replays(post(early_return), call("/")).await.status, StatusCode::PAYMENT_REQUIRED);
    let text = call("/").body("text/plain", "x");
    assert_eq!(replays(post(early_return), text).await.status, StatusCode::PAYMENT_REQUIRED);
    let number = call("/").body("text/plain", "7");
    assert_eq!(replays(post(early_return), number).await.text(), "7");
}
