//! Every error has one shape, and what is refused leaves its key free.

use demo::testing::App;
use reqwest::{Method, StatusCode};

use crate::app::{Answer, Donations, GUARDED, code, donation, setup};

/// Sends a body with the key that is to stay free.
async fn send(app: &App, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = app.request(Method::POST, GUARDED).bearer_auth("ann");
    let request = request.header("Idempotency-Key", "free").header("Content-Type", content_type);
    Answer::to(request.body(body)).await
}

/// Asserts that nothing happened and that the key can be used.
async fn left_nothing_behind(app: &App) {
    assert!(app.donations().await.is_empty());
    let answer = app.give("free").await;
    assert_eq!((answer.status, answer.replayed()), (StatusCode::CREATED, false), "{answer:?}");
}

#[tokio::test]
async fn what_is_no_amount_is_refused_and_leaves_nothing_behind() {
    let app = setup().start();
    for amount in [
        "0",
        "-0.0",
        "-5",
        "12.345",
        "0.001",
        "1000000000.01",
        "1e10",
        "1e400",
        "1e-400",
        "9223372036854775807",
        "\"12.5\"",
        "\"NaN\"",
        "null",
        "true",
        "[1]",
        "{}",
        "12.500000000000000000000000000000000000000000001",
    ] {
        let body = format!(r#"{{"senderId": 1, "receiverId": 2, "amount": {amount}}}"#);
        let answer = send(&app, "application/json", body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{amount}: {answer:?}");
        assert_eq!(code(&answer), "INVALID_BODY");
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.contains("amount"), "{amount}: {message}");
    }
    left_nothing_behind(&app).await;
}

#[tokio::test]
async fn what_is_no_donation_is_refused_and_leaves_nothing_behind() {
    const JSON: &str = "application/json";
    let app = setup().start();
    let with = |member: &str| format!(r#"{{"senderId": 1, "receiverId": 2, {member}}}"#);
    let long = with(&format!(r#""amount": 1, "memo": "{}""#, "x".repeat(1001)));
    for (content_type, body, status) in [
        (JSON, "{}", 422),
        (JSON, "[]", 422),
        (JSON, r#"{"senderId": 1.5, "receiverId": 2, "amount": 1}"#, 422),
        (JSON, r#"{"senderId": "1", "receiverId": 2, "amount": 1}"#, 422),
        (JSON, r#"{"senderId": 9223372036854775808, "receiverId": 2, "amount": 1}"#, 422),
        (JSON, &with(r#""amount": 1, "amount": 2"#), 422),
        (JSON, &with(r#""amount": 1, "memo": 7"#), 422),
        (JSON, &long, 422),
        (JSON, &with(r#""amount": NaN"#), 400),
        (JSON, &with(r#""amount": .5"#), 400),
        (JSON, "", 400),
        (JSON, "\u{0}\u{1}", 400),
        ("text/plain", "{}", 415),
    ] {
        let answer = send(&app, content_type, body.to_owned()).await;
        let shown = &body[..body.len().min(80)];
        assert_eq!((answer.status.as_u16(), code(&answer)), (status, "INVALID_BODY"), "{shown}");
    }
    let binary = send(&app, JSON, vec![0xff, 0xfe, 0x00]).await;
    assert_eq!((binary.status, code(&binary)), (StatusCode::BAD_REQUEST, "INVALID_BODY"));
    left_nothing_behind(&app).await;
}

#[tokio::test]
async fn who_is_nobody_is_told_how_to_be_somebody() {
    let app = setup().start();
    let anonymous = app.post(GUARDED, &donation()).header("Idempotency-Key", "free");
    let anonymous = Answer::to(anonymous).await;
    assert_eq!((anonymous.status, code(&anonymous)), (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"));
    assert_eq!(anonymous.header("www-authenticate"), Some("Bearer"));
    left_nothing_behind(&app).await;
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_in_the_same_shape() {
    let app = setup().start();
    let keyless = Answer::to(app.post(GUARDED, &donation()).bearer_auth("ann")).await;
    assert_eq!((keyless.status, code(&keyless)), (StatusCode::BAD_REQUEST, "KEY_MISSING"));
    for key in ["", "\"open", &"k".repeat(256), "schlüssel"] {
        let answer = app.give(key).await;
        assert_eq!((answer.status, code(&answer)), (StatusCode::BAD_REQUEST, "KEY_INVALID"));
    }
    assert!(app.donations().await.is_empty());
    for key in ["\"quoted\"", "quoted", &"k".repeat(255), "a b;c=\\ '"] {
        assert_eq!(app.give(key).await.status, StatusCode::CREATED, "{key}");
    }
    assert_eq!(app.donations().await.len(), 3, "quoted or not, it is one key");
}

#[tokio::test]
async fn where_there_is_nothing_the_shape_is_the_same() {
    let app = setup().start();
    let nothing = Answer::to(app.get("/donation")).await;
    assert_eq!((nothing.status, code(&nothing)), (StatusCode::NOT_FOUND, "NOT_FOUND"));
    let delete = Answer::to(app.request(Method::DELETE, GUARDED)).await;
    let said = (delete.status, code(&delete));
    assert_eq!(said, (StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"));
    assert!(delete.header("allow").unwrap().contains("POST"), "{delete:?}");
}
