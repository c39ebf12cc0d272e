//! What the API says it does.

use demo::on_each_database;
use reqwest::StatusCode;
use serde_json::json;

use crate::app::{Answer, Payments, order, setup};

on_each_database! {
    async fn a_payment_is_created_listed_and_replayed(database: Database) {
        let app = setup(database).start();
        let first = app.pay("order-1", "bob").await;
        assert_eq!(first.status, StatusCode::CREATED);
        let id = first.body["id"].as_str().unwrap();
        assert!(id.len() >= 16);
        assert_eq!(first.header("location").unwrap(), format!("/payments/{id}"));
        let expected =
            json!({ "id": id, "amount": 1250, "currency": "EUR", "to": "bob", "status": "succeeded" });
        assert_eq!(first.body, expected);
        let retry = app.pay("order-1", "bob").await;
        assert!(retry.replayed() && !first.replayed());
        assert_eq!(first.content(), retry.content());
        let second = app.pay("order-2", "carol").await;
        assert_eq!(app.payments().await, [second.body, first.body], "newest first");
        assert_eq!(app.get("/healthz").send().await.unwrap().status(), StatusCode::OK);
    }

    async fn what_is_not_acceptable_is_refused(database: Database) {
        let app = setup(database).start();
        let anonymous = app.post("/payments", &order("bob")).header("Idempotency-Key", "k");
        assert_eq!(anonymous.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
        let keyless = app.post("/payments", &order("bob")).bearer_auth("ann");
        assert_eq!(Answer::to(keyless).await.problem(), "key-missing");
        for amount in [0, -5, 100_000_000_001_i64, i64::MAX] {
            let body = json!({ "amount": amount, "currency": "EUR", "to": "bob" });
            let key = format!("amount {amount}");
            let call = app.post("/payments", &body).bearer_auth("ann").header("Idempotency-Key", key);
            assert_eq!(call.send().await.unwrap().status(), StatusCode::UNPROCESSABLE_ENTITY);
        }
        let mismatch = {
            app.pay("k", "bob").await;
            app.pay("k", "carol").await
        };
        assert_eq!(mismatch.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(mismatch.problem(), "mismatch");
        assert_eq!(app.payments().await.len(), 1);
    }

    async fn users_do_not_share_keys(database: Database) {
        let app = setup(database).start();
        let of_ann = app.pay("k", "shop").await;
        let call = app.post("/payments", &order("shop")).bearer_auth("bob").header("Idempotency-Key", "k");
        let of_bob = Answer::to(call).await;
        assert_eq!(of_bob.status, StatusCode::CREATED);
        assert!(!of_bob.replayed());
        assert_ne!(of_ann.body["id"], of_bob.body["id"]);
        assert_eq!(app.payments().await, [of_ann.body]);
    }

    async fn a_refusal_of_the_provider_is_final_and_its_outage_is_not(database: Database) {
        let app = setup(database).start();
        assert_eq!(app.pay("declined", "declined").await.status, StatusCode::PAYMENT_REQUIRED);
        let retry = app.pay("declined", "declined").await;
        assert_eq!((retry.status, retry.replayed()), (StatusCode::PAYMENT_REQUIRED, true));
        for _ in 0..2 {
            let answer = app.pay("unavailable", "unavailable").await;
            assert_eq!((answer.status, answer.replayed()), (StatusCode::SERVICE_UNAVAILABLE, false));
            assert_eq!(answer.problem(), "", "it is the handler's own answer");
        }
    }

    async fn a_panic_is_a_500_and_a_retry_executes(database: Database) {
        let app = setup(database).start();
        for _ in 0..2 {
            let answer = app.pay("k", "panic").await;
            assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!((answer.problem(), answer.replayed()), ("handler-panicked", false));
        }
    }
}
