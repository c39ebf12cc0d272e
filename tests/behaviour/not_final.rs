//! Answers of which the handler says that they are not final.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderName, StatusCode},
    response::{IntoResponse, Response},
    routing,
};
use idem::{Attempt, NotFinal, idempotent};
use serde::Deserialize;

use crate::support::{App, Call, Runs, Server, User, post};

#[idempotent(scope = "global", keep = "2xx, 402, 503")]
async fn status(
    State(runs): State<Runs>,
    Path(status): Path<u16>,
    attempt: Attempt,
) -> NotFinal<(StatusCode, String)> {
    runs.add();
    NotFinal((StatusCode::from_u16(status).unwrap(), attempt.number().to_string()))
}

#[idempotent(scope = "global", recover = "hold")]
async fn held(State(runs): State<Runs>) -> Result<String, NotFinal<StatusCode>> {
    match runs.add() {
        1 => Err(NotFinal(StatusCode::ACCEPTED)),
        run => Ok(run.to_string()),
    }
}

struct Refusal;

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        NotFinal((StatusCode::CONFLICT, "not yet")).into_response()
    }
}

#[idempotent(scope = "global")]
async fn refuses(State(runs): State<Runs>) -> Result<(), (StatusCode, Refusal)> {
    runs.add();
    Err((StatusCode::FORBIDDEN, Refusal))
}

#[derive(Deserialize)]
struct Confirmation {
    #[serde(default)]
    confirm_credit: u8,
}

#[derive(Deserialize)]
struct Event {
    name: String,
}

/// Asks back before it takes a credit.
fn create(runs: &Runs, user: &User, confirmation: &Confirmation, event: &Event) -> Response {
    if confirmation.confirm_credit == 0 {
        return NotFinal((StatusCode::PAYMENT_REQUIRED, "CONFIRMATION_REQUIRED")).into_response();
    }
    (StatusCode::CREATED, format!("{} {} {}", user.0, event.name, runs.add())).into_response()
}

#[idempotent(scope = "user", query = false)]
async fn event(
    State(runs): State<Runs>,
    user: User,
    Query(confirmation): Query<Confirmation>,
    Json(event): Json<Event>,
) -> Response {
    create(&runs, &user, &confirmation, &event)
}

#[idempotent(scope = "user")]
async fn event_with_its_query(
    State(runs): State<Runs>,
    user: User,
    Query(confirmation): Query<Confirmation>,
    Json(event): Json<Event>,
) -> Response {
    create(&runs, &user, &confirmation, &event)
}

fn routes() -> Router<App> {
    Router::new()
        .route("/status/{status}", routing::post(status))
        .route("/held", routing::post(held))
        .route("/refuses", routing::post(refuses))
        .route("/api/events", routing::post(event))
        .route("/with-query", routing::post(event_with_its_query))
}

#[tokio::test]
async fn whatever_its_status_a_retry_executes() {
    let server = Server::new(routes());
    for code in [200, 201, 303, 402, 409, 503] {
        let uri = format!("/status/{code}");
        for attempt in ["1", "2", "3"] {
            let answer = server.send(post(&uri).key(&uri)).await;
            assert_eq!((answer.status, answer.text()), (code, attempt));
            assert!(!answer.is_replay());
        }
    }
    assert_eq!((server.runs.count(), server.store.arrived("complete")), (18, 0));
}

#[tokio::test]
async fn it_is_remembered_like_every_failed_attempt() {
    let server = Server::new(routes());
    server.send(post("/status/201").key("k")).await;
    let other = server.send(post("/status/201").key("k").body("x")).await;
    assert_eq!(other.problem(), "mismatch");
    server.store.memory.advance(Duration::from_hours(24));
    assert_eq!(server.send(post("/status/201").key("k").body("x")).await.text(), "1");
}

#[tokio::test]
async fn under_hold_it_is_the_word_of_the_handler_that_nothing_happened() {
    let server = Server::new(routes());
    assert_eq!(server.send(post("/held").key("k")).await.status, 202);
    assert_eq!(server.send(post("/held").key("k")).await.text(), "2");
    assert!(server.send(post("/held").key("k")).await.is_replay());
}

#[tokio::test]
async fn it_may_be_anywhere_in_a_response() {
    let server = Server::new(routes());
    for _ in 0..2 {
        assert_eq!(server.send(post("/refuses").key("k")).await.status, 403);
    }
    assert_eq!(server.runs.count(), 2);
}

#[tokio::test]
async fn it_has_no_marker() {
    let server = Server::with(routes(), |it| {
        it.replayed_header(HeaderName::from_static("x-idempotency-replay"))
            .stored_header(HeaderName::from_static("x-idempotency-stored"))
    });
    for _ in 0..2 {
        let asked = server.send(asking("/api/events")).await;
        assert_eq!(markers(&asked), (None, None));
    }
    let done = server.send(asking("/api/events?confirm_credit=1")).await;
    assert_eq!(markers(&done), (Some("true"), None));
    let replay = server.send(asking("/api/events?confirm_credit=1")).await;
    assert_eq!(markers(&replay), (None, Some("true")));
}

fn markers(answer: &crate::support::Answer) -> (Option<&str>, Option<&str>) {
    (answer.header("x-idempotency-stored"), answer.header("x-idempotency-replay"))
}

fn asking(uri: &str) -> Call {
    post(uri).key("k").json(r#"{"name":"party"}"#)
}

#[tokio::test]
async fn a_confirmed_request_executes_with_the_key_of_the_one_that_asked_back() {
    let server = Server::new(routes());
    for _ in 0..2 {
        let asked = server.send(asking("/api/events")).await;
        assert_eq!((asked.status, asked.text()), (402, "CONFIRMATION_REQUIRED"));
    }
    let done = server.send(asking("/api/events?confirm_credit=1")).await;
    assert_eq!((done.status, done.text()), (201, "ann party 1"));
    for uri in ["/api/events?confirm_credit=1", "/api/events"] {
        let replay = server.send(asking(uri)).await;
        assert!(replay.is_replay());
        assert_eq!((replay.status, replay.text()), (201, "ann party 1"));
    }
    let other = post("/api/events?confirm_credit=1").key("k").json(r#"{"name":"other"}"#);
    assert_eq!(server.send(other).await.problem(), "mismatch");
}

#[tokio::test]
async fn where_the_query_counts_a_confirmed_request_is_another_one() {
    let server = Server::new(routes());
    assert_eq!(server.send(asking("/with-query")).await.status, 402);
    let confirmed = server.send(asking("/with-query?confirm_credit=1")).await;
    assert_eq!(confirmed.problem(), "mismatch");
}
