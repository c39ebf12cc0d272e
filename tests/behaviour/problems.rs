//! How clients are told.

use axum::{Router, extract::State, http::Response, routing};
use idem::idempotent;

use crate::support::{App, Runs, Server, post};

#[idempotent(scope = "global")]
async fn run(State(runs): State<Runs>) -> String {
    runs.add().to_string()
}

fn routes() -> Router<App> {
    Router::new().route("/", routing::post(run))
}

#[tokio::test]
async fn problems_are_rfc_9457_documents() {
    let server = Server::with(routes(), |it| it.docs_url("https://example.com/idempotency"));
    let answer = server.send(post("/")).await;
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["type"], "urn:problem-type:idem:key-missing");
    assert_eq!(body["status"], 400);
    assert!(body["title"].is_string() && body["detail"].is_string());
    let link = "<https://example.com/idempotency>; rel=\"describedby\"";
    assert_eq!(answer.header("link"), Some(link));
}

#[tokio::test]
async fn an_application_may_render_problems_its_own_way() {
    let server = Server::with(routes(), |it| {
        it.render_problems(|context| {
            let language = context.request_headers.get("accept-language");
            let german = language.is_some_and(|it| it.as_bytes().starts_with(b"de"));
            let text = if german { "Schlüssel fehlt" } else { context.problem.title() };
            let mut response = Response::new(text.to_owned().into());
            *response.status_mut() = context.problem.status();
            response
        })
    });
    let german = server.send(post("/").header("accept-language", "de-AT")).await;
    assert_eq!((german.status, german.text()), (400, "Schlüssel fehlt"));
    let english = server.send(post("/")).await;
    assert_eq!((english.status, english.text()), (400, "Idempotency key missing"));
}
