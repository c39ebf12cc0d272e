//! What payments do to accounts.

use demo::on_each_database;
use reqwest::StatusCode;
use serde_json::json;

use crate::app::{Answer, App, Payments, setup};

async fn pay(app: &App, from: &str, to: &str, amount: i64) -> Answer {
    let body = json!({ "amount": amount, "currency": "EUR", "to": to });
    let key = format!("{from} {to} {amount}");
    let call = app.post("/payments", &body).bearer_auth(from).header("Idempotency-Key", key);
    Answer::to(call).await
}

on_each_database! {
    async fn a_payment_moves_money_from_one_account_to_another(database: Database) {
        let app = setup(database).start();
        assert_eq!(app.balance("ann").await, 0, "nobody has heard of her");
        for (from, to, amount) in [("ann", "bob", 1250), ("bob", "zoe", 250), ("zoe", "ann", 7)] {
            assert_eq!(pay(&app, from, to, amount).await.status, StatusCode::CREATED);
        }
        let replay = pay(&app, "ann", "bob", 1250).await;
        assert!(replay.replayed());
        for (user, balance) in [("ann", -1243), ("bob", 1000), ("zoe", 243), ("carol", 0)] {
            assert_eq!(app.balance(user).await, balance, "{user}");
        }
        let mut request = app.get("/balance").build().unwrap();
        request.headers_mut().remove("authorization");
        let anonymous = reqwest::Client::new().execute(request).await.unwrap();
        assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);
    }

    async fn who_pays_himself_has_what_he_had(database: Database) {
        let app = setup(database).start();
        let answer = pay(&app, "ann", "ann", 5).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        assert_eq!(app.balance("ann").await, 0);
        assert_eq!(app.payments().await, [answer.body]);
    }

    async fn the_largest_payment_is_a_billion(database: Database) {
        let app = setup(database).start();
        let largest = 100_000_000_000;
        assert_eq!(pay(&app, "ann", "bob", largest).await.status, StatusCode::CREATED);
        let larger = pay(&app, "ann", "bob", largest + 1).await;
        assert_eq!(larger.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(larger.body["error"].as_str().unwrap().contains("100000000000 cents"));
        assert_eq!(app.balance("bob").await, largest);
    }

    async fn a_refused_payment_moves_nothing(database: Database) {
        let app = setup(database).start();
        for (to, status) in [("declined", 402), ("unavailable", 503), ("panic", 500)] {
            assert_eq!(pay(&app, "ann", to, 5).await.status, status);
            assert_eq!((app.balance("ann").await, app.balance(to).await), (0, 0));
        }
        assert!(app.payments().await.is_empty());
    }

    async fn payments_across_each_other_do_not_wait_for_each_other(database: Database) {
        let app = setup(database).start();
        let there = (1..=50).map(|amount| pay(&app, "ann", "bob", amount));
        let back = (1..=50).map(|amount| pay(&app, "bob", "ann", amount));
        let answers = futures_util::future::join_all(there.chain(back)).await;
        assert!(answers.iter().all(|it| it.status == StatusCode::CREATED));
        assert_eq!((app.balance("ann").await, app.balance("bob").await), (0, 0));
    }
}
