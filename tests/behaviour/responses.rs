//! What of a response is kept.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderName, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
    routing,
};
use futures_util::stream;
use idem::{Keep, idempotent};

use crate::support::{App, Fault, Runs, Server, post};

#[idempotent(scope = "global")]
async fn headers(State(runs): State<Runs>) -> impl IntoResponse {
    runs.add();
    let headers = AppendHeaders([
        (HeaderName::from_static("x-multi"), "one"),
        (header::SET_COOKIE, "session=secret"),
        (HeaderName::from_static("x-multi"), "two"),
        (header::ETAG, "\"v1\""),
        (header::DATE, "Sat, 21 Nov 2026 00:00:00 GMT"),
        (header::CONNECTION, "x-hop"),
        (HeaderName::from_static("x-hop"), "of this connection"),
        (HeaderName::from_static("idempotency-replayed"), "forged"),
    ]);
    (headers, (0..=255).collect::<Vec<u8>>())
}

#[idempotent(scope = "global", max_response = "1KiB")]
async fn sized(State(runs): State<Runs>, Path(size): Path<usize>) -> Vec<u8> {
    runs.add();
    vec![7; size]
}

#[idempotent(scope = "global")]
async fn streamed(State(runs): State<Runs>) -> Body {
    runs.add();
    let chunks =
        ["a", "b", "c"].map(|it| Ok::<_, std::io::Error>(Bytes::from_static(it.as_bytes())));
    Body::from_stream(stream::iter(chunks))
}

#[idempotent(scope = "global")]
async fn status(State(runs): State<Runs>, Path(status): Path<u16>) -> Response {
    (StatusCode::from_u16(status).unwrap(), runs.add().to_string()).into_response()
}

#[idempotent(scope = "global", keep = "2xx, 404, !201")]
async fn own_keep(State(runs): State<Runs>, Path(status): Path<u16>) -> Response {
    (StatusCode::from_u16(status).unwrap(), runs.add().to_string()).into_response()
}

fn routes() -> Router<App> {
    Router::new()
        .route("/headers", routing::post(headers))
        .route("/sized/{size}", routing::post(sized))
        .route("/streamed", routing::post(streamed))
        .route("/status/{status}", routing::post(status))
        .route("/keep/{status}", routing::post(own_keep))
}

#[tokio::test]
async fn end_to_end_headers_are_kept_in_order_and_private_ones_are_not() {
    let server = Server::new(routes());
    let first = server.send(post("/headers").key("k")).await;
    assert_eq!(first.header("set-cookie"), Some("session=secret"));
    let replay = server.send(post("/headers").key("k")).await;
    assert!(replay.is_replay());
    let multi: Vec<_> = replay.headers.get_all("x-multi").iter().collect();
    assert_eq!(multi, ["one", "two"]);
    assert_eq!(replay.header("etag"), Some("\"v1\""));
    assert_eq!(replay.header("content-type"), Some("application/octet-stream"));
    for dropped in ["set-cookie", "date", "connection", "x-hop"] {
        assert_eq!(replay.header(dropped), None, "{dropped}");
    }
    assert_eq!(replay.body, first.body);
    assert_eq!(replay.body.len(), 256);
}

#[tokio::test]
async fn which_headers_are_dropped_is_the_applications_choice() {
    let server = Server::with(routes(), |it| it.dropped_headers([header::ETAG]));
    server.send(post("/headers").key("k")).await;
    let replay = server.send(post("/headers").key("k")).await;
    assert_eq!(
        (replay.header("etag"), replay.header("set-cookie")),
        (None, Some("session=secret"))
    );
}

#[tokio::test]
async fn markers_have_the_names_that_the_application_chose() {
    let server = Server::with(routes(), |it| {
        it.replayed_header(HeaderName::from_static("x-replay"))
            .stored_header(HeaderName::from_static("x-stored"))
    });
    let first = server.send(post("/status/201").key("k")).await;
    assert_eq!((first.header("x-stored"), first.header("x-replay")), (Some("true"), None));
    let replay = server.send(post("/status/201").key("k")).await;
    assert_eq!((replay.header("x-stored"), replay.header("x-replay")), (None, Some("true")));
    assert_eq!(replay.header("idempotency-replayed"), None);
    let not_final = server.send(post("/status/503").key("l")).await;
    assert_eq!(not_final.header("x-stored"), None);
    let not_kept = server.send(post("/streamed").key("m")).await;
    assert_eq!(not_kept.header("x-stored"), None);
    server.store.fault("complete", Fault::Refused);
    let not_yet = server.send(post("/status/201").key("n")).await;
    assert_eq!((not_yet.status, not_yet.header("x-stored")), (201, None));
}

#[tokio::test]
async fn a_response_over_the_limit_reaches_the_first_client_and_is_never_executed_again() {
    let server = Server::new(routes());
    let first = server.send(post("/sized/1025").key("k")).await;
    assert_eq!((first.status, first.body.len()), (200, 1025));
    for _ in 0..2 {
        let retry = server.send(post("/sized/1025").key("k")).await;
        assert_eq!((retry.status, retry.problem().as_str()), (409, "response-not-kept"));
        assert_eq!(retry.header("retry-after"), None, "waiting will not help");
    }
    assert_eq!(server.runs.count(), 1);
    server.send(post("/sized/1024").key("l")).await;
    assert!(server.send(post("/sized/1024").key("l")).await.is_replay());
}

#[tokio::test]
async fn a_streamed_response_reaches_the_first_client_and_is_never_executed_again() {
    let server = Server::new(routes());
    assert_eq!(server.send(post("/streamed").key("k")).await.text(), "abc");
    let retry = server.send(post("/streamed").key("k")).await;
    assert_eq!(retry.problem(), "response-not-kept");
    assert_eq!(server.runs.count(), 1);
}

#[tokio::test]
async fn final_answers_are_replayed_and_others_run_again() {
    let server = Server::new(routes());
    for (status, is_final) in [
        (201, true),
        (204, true),
        (402, true),
        (404, true),
        (408, false),
        (429, false),
        (503, false),
    ] {
        let uri = format!("/status/{status}");
        let runs = server.runs.count();
        for _ in 0..2 {
            assert_eq!(server.send(post(&uri).key(&uri)).await.status, status);
        }
        assert_eq!(server.runs.count() - runs, if is_final { 1 } else { 2 }, "{status}");
    }
}

#[tokio::test]
async fn what_is_final_is_the_endpoints_or_the_engines_choice() {
    let server = Server::with(routes(), |it| it.keep(Keep::NONE.with(503, 503)));
    for (uri, executions) in [
        ("/status/503", 1),
        ("/status/200", 2),
        ("/keep/404", 1),
        ("/keep/201", 2),
        ("/keep/503", 2),
    ] {
        let runs = server.runs.count();
        for _ in 0..2 {
            server.send(post(uri).key(uri)).await;
        }
        assert_eq!(server.runs.count() - runs, executions, "{uri}");
    }
}
