//! Every error has the envelope, in each language.

use demo::{on_each_database, testing::sql::execute};
use reqwest::{Method, RequestBuilder, header::CONTENT_TYPE};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::app::{Answer, App, Enveloped, Events, confirmed, key, plan, setup};

/// A way to be refused, and how it is told: a status and a code.
type Case<'a> = (Box<dyn Fn() -> RequestBuilder + 'a>, u16, &'a str);

fn cases(app: &App) -> Vec<Case<'_>> {
    let post = |body: &'static str| {
        let request = app.request(Method::POST, "/api/events").bearer_auth("ann");
        let request = request.header("Idempotency-Key", key());
        request.header(CONTENT_TYPE, "application/json").body(body)
    };
    let planned = |title, participants| plan(&key(), title, participants).to(app);
    vec![
        (Box::new(|| app.get("/api/nothing")), 404, "NOT_FOUND"),
        (Box::new(|| app.request(Method::PUT, "/api/events")), 405, "METHOD_NOT_ALLOWED"),
        (Box::new(|| app.request(Method::GET, "/api/account")), 401, "UNAUTHORIZED"),
        (
            Box::new(|| app.post("/api/events", &json!({})).header("Idempotency-Key", key())),
            401,
            "UNAUTHORIZED",
        ),
        (
            Box::new(|| app.post("/api/events", &json!({})).bearer_auth("ann")),
            400,
            "IDEMPOTENCY_KEY_MISSING",
        ),
        (Box::new(|| plan("k", "party", 5).to(app)), 400, "IDEMPOTENCY_KEY_INVALID"),
        (
            Box::new(move || planned("party", 5).header("Idempotency-Key", key())),
            400,
            "IDEMPOTENCY_KEY_INVALID",
        ),
        (Box::new(move || post("{")), 400, "JSON_MALFORMED"),
        (Box::new(move || post("\0\u{1}")), 400, "JSON_MALFORMED"),
        (Box::new(move || post("")), 400, "JSON_MALFORMED"),
        (Box::new(move || post("[]")), 422, "BODY_INVALID"),
        (Box::new(move || post(r#"{"title": "party"}"#)), 422, "BODY_INVALID"),
        (Box::new(move || post(r#"{"title": 5, "participants": 5}"#)), 422, "BODY_INVALID"),
        (Box::new(move || post(r#"{"title": "a", "participants": "5"}"#)), 422, "BODY_INVALID"),
        (Box::new(move || post(r#"{"title": "a", "participants": 2.5}"#)), 422, "BODY_INVALID"),
        (Box::new(move || post(r#"{"title": "a", "participants": 1e99}"#)), 422, "BODY_INVALID"),
        (
            Box::new(|| {
                let request = app.request(Method::POST, "/api/events").bearer_auth("ann");
                request.header("Idempotency-Key", key()).body("{}")
            }),
            415,
            "CONTENT_TYPE_UNSUPPORTED",
        ),
        (Box::new(move || planned("", 5)), 422, "TITLE_INVALID"),
        (Box::new(move || planned("party", 0)), 422, "PARTICIPANTS_INVALID"),
        (
            Box::new(|| {
                let request = app.post("/api/events?confirm_credit=maybe", &json!({}));
                request.bearer_auth("ann").header("Idempotency-Key", key())
            }),
            400,
            "QUERY_INVALID",
        ),
        // The last byte is too much: who sends more may be cut off before it has read the answer.
        (Box::new(move || post("").body(vec![b' '; (2 << 20) + 1])), 413, "BODY_TOO_LARGE"),
        (Box::new(move || planned("gala", 21)), 402, "CONFIRMATION_REQUIRED"),
        (Box::new(|| confirmed(&key(), "gala", 9000).to(app)), 402, "INSUFFICIENT_CREDIT"),
        (Box::new(move || planned("refused", 5)), 403, "EVENT_REFUSED"),
        (Box::new(move || planned("unavailable", 5)), 503, "SERVICE_UNAVAILABLE"),
        (Box::new(move || planned("panic", 5)), 500, "HANDLER_PANICKED"),
    ]
}

/// Asserts that the answer is an error in the envelope and in the language, and returns the message.
fn message(answer: &Answer, language: &str) -> String {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    assert_eq!(answer.header("content-language"), Some(language), "{answer:?}");
    assert_eq!(answer.header("vary"), Some("accept-language"), "{answer:?}");
    assert_eq!(answer.body["success"], false);
    let members = |it: &serde_json::Value| it.as_object().unwrap().len();
    let has_details = answer.body["error"].get("details").is_some();
    assert_eq!(
        (members(&answer.body), members(&answer.body["error"])),
        (2, 2 + usize::from(has_details))
    );
    answer.body["error"]["message"].as_str().unwrap().to_owned()
}

/// Asserts that the request is refused so, in each language.
async fn is_told(request: &dyn Fn() -> RequestBuilder, status: u16, code: &str) {
    let english = Answer::to(request()).await;
    assert_eq!((english.status.as_u16(), english.code()), (status, code), "{english:?}");
    let russian = Answer::to(request().header("Accept-Language", "ru-RU, en;q=0.9")).await;
    assert_eq!((russian.status.as_u16(), russian.code()), (status, code), "{russian:?}");
    assert!(message(&english, "en").is_ascii(), "{english:?}");
    let is_russian = |it: char| ('а'..='я').contains(&it);
    assert!(message(&russian, "ru").contains(is_russian), "{russian:?}");
    let challenge = (status == 401).then_some("Bearer");
    assert_eq!(russian.header("www-authenticate"), challenge);
    let allowed = (status == 405).then_some("POST,GET,HEAD");
    assert_eq!(russian.header("allow"), allowed);
    let is_transient = status == 503 || code == "REQUEST_IN_PROGRESS";
    assert_eq!(russian.header("retry-after"), is_transient.then_some("1"));
}

on_each_database! {
    async fn every_error_has_the_envelope_in_the_clients_language(database: Database) {
        let app = setup(database).start();
        for (request, status, code) in cases(&app) {
            is_told(&request, status, code).await;
        }
        assert!(app.events().await.is_empty());
    }

    async fn a_request_that_is_running_and_another_one_with_its_key_are_told_so(database: Database) {
        let app = setup(database).variable("HANDLER_DELAY_MS", "600000").start();
        let key = key();
        plan(&key, "party", 5).started(&app).await.abort();
        is_told(&|| plan(&key, "party", 5).to(&app), 409, "REQUEST_IN_PROGRESS").await;
        is_told(&|| plan(&key, "another", 5).to(&app), 422, "IDEMPOTENCY_KEY_REUSED").await;
    }

    async fn a_database_that_fails_is_told_so(database: Database) {
        let setup = setup(database);
        let app = setup.start();
        execute(&setup.database_url(), "DROP TABLE events").await;
        is_told(&|| plan(&key(), "party", 5).to(&app), 500, "INTERNAL_ERROR").await;
        is_told(&|| app.get("/api/events"), 500, "INTERNAL_ERROR").await;
        execute(&setup.database_url(), "DROP TABLE idem").await;
        is_told(&|| plan(&key(), "party", 5).to(&app), 503, "STORE_UNAVAILABLE").await;
    }

    async fn a_body_that_breaks_off_is_told_so(database: Database) {
        let app = setup(database).start();
        let address = app.url().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "POST /api/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer ann\r\n\
             Idempotency-Key: {}\r\nContent-Type: application/json\r\nAccept-Language: ru\r\n\
             Transfer-Encoding: chunked\r\n\r\nno length\r\n",
            key()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("content-language: ru\r\n"), "{answer}");
        assert!(answer.contains("\"code\":\"BODY_UNREADABLE\""), "{answer}");
    }
}
