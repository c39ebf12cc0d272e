//! What the API says it does.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::app::{Answer, Donations, GUARDED, code, setup};

#[tokio::test]
async fn a_donation_is_made_listed_and_its_retry_is_a_replay() {
    let app = setup().start();
    let first = app.give("gift-1").await;
    assert_eq!(first.status, StatusCode::CREATED);
    let id = first.body["data"]["id"].as_str().unwrap();
    let data =
        json!({ "id": id, "senderId": 1, "receiverId": 2, "amount": 12.5, "memo": "thanks" });
    assert_eq!(first.body, json!({ "success": true, "data": data }));
    let retry = app.give("gift-1").await;
    assert!(retry.replayed() && !first.replayed());
    assert_eq!(first.content(), retry.content());
    let second = app.give("gift-2").await;
    assert_ne!(second.body["data"]["id"], data["id"]);
    assert_eq!(app.donations().await, [second.body["data"].clone(), data], "newest first");
    let anonymous = Answer::to(app.request(Method::GET, GUARDED)).await;
    assert_eq!(anonymous.body.as_array().unwrap().len(), 2);
    assert_eq!(app.get("/healthz").send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn an_amount_comes_back_to_the_cent() {
    let app = setup().start();
    let mut sent = Vec::new();
    for (amount, said) in [
        ("0.01", "0.01"),
        ("0.1", "0.1"),
        ("0.29", "0.29"),
        ("1.10", "1.1"),
        ("19.99", "19.99"),
        ("7", "7"),
        ("1.25e1", "12.5"),
        ("999999999.99", "999999999.99"),
        ("1000000000", "1000000000"),
    ] {
        let body = format!(r#"{{"senderId": 1, "receiverId": 2, "amount": {amount}}}"#);
        let answer = app.request(Method::POST, GUARDED).bearer_auth("ann").body(body);
        let answer = answer.header("Idempotency-Key", amount);
        let answer = answer.header("Content-Type", "application/json").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED, "{amount}");
        let text = answer.text().await.unwrap();
        let amount = format!(r#""amount":{said},"memo":null"#);
        assert!(text.contains(&amount), "{amount}: {text}");
        sent.push(amount);
    }
    let listed = app.get(GUARDED).send().await.unwrap().text().await.unwrap();
    assert!(sent.iter().all(|it| listed.contains(it)), "{listed}");
}

#[tokio::test]
async fn every_integer_and_every_memo_comes_back() {
    let app = setup().start();
    let longest = "ü".repeat(1000);
    for (i, memo) in [
        "",
        "\u{0}nul\u{0}",
        "'; DROP TABLE donations; --",
        "👩\u{200d}👧 \u{2067}rtl\u{2069}",
        &longest,
    ]
    .into_iter()
    .enumerate()
    {
        let body =
            json!({ "senderId": i64::MAX, "receiverId": i64::MIN, "amount": 1, "memo": memo });
        let call = app.post(GUARDED, &body).bearer_auth("ann");
        let answer = Answer::to(call.header("Idempotency-Key", i.to_string())).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{memo:?}: {answer:?}");
        for (name, value) in body.as_object().unwrap() {
            assert_eq!(answer.body["data"][name], *value);
        }
        assert_eq!(app.donations().await[0], answer.body["data"]);
    }
}

#[tokio::test]
async fn users_do_not_share_keys() {
    let app = setup().start();
    let of_ann = app.give("k").await;
    let of_bob = Answer::to(app.donation(GUARDED, "bob", "k")).await;
    assert_eq!((of_bob.status, of_bob.replayed()), (StatusCode::CREATED, false));
    assert_ne!(of_ann.body["data"]["id"], of_bob.body["data"]["id"]);
    assert_eq!(app.donations().await.len(), 2);
}

#[tokio::test]
async fn a_key_that_was_used_for_another_donation_is_refused() {
    let app = setup().start();
    app.give("k").await;
    let body = json!({ "senderId": 1, "receiverId": 2, "amount": 12.51, "memo": "thanks" });
    let call = app.post(GUARDED, &body).bearer_auth("ann").header("Idempotency-Key", "k");
    let answer = Answer::to(call).await;
    assert_eq!((answer.status, code(&answer)), (StatusCode::UNPROCESSABLE_ENTITY, "MISMATCH"));
    assert_eq!(app.donations().await.len(), 1);
}
