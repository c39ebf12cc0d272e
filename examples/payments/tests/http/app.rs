//! The payments example as its clients use it.

pub(crate) use demo::testing::{Answer, App, Database, PATIENCE};
use demo::testing::{Setup, until_answered};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// An environment for the example.
pub(crate) fn setup(database: Database) -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_payments"), database)
}

pub(crate) fn order(to: &str) -> Value {
    json!({ "amount": 1250, "currency": "EUR", "to": to })
}

/// What ann does with the example.
pub(crate) trait Payments {
    /// An order of ann's.
    fn order(&self, path: &str, key: &str, to: &str) -> RequestBuilder;

    /// Pays.
    async fn pay(&self, key: &str, to: &str) -> Answer;

    /// Lets the provider pay.
    async fn pay_out(&self, key: &str, to: &str) -> Answer;

    /// Pays until the answer is not that it is running.
    async fn pay_until_answered(&self, key: &str, to: &str) -> Answer {
        until_answered(async || self.pay(key, to).await).await
    }

    /// Lets the provider pay until the answer is not that it is running.
    async fn pay_out_until_answered(&self, key: &str, to: &str) -> Answer {
        until_answered(async || self.pay_out(key, to).await).await
    }

    /// Sends a payment and returns when it is being processed.
    async fn start_paying(&self, key: &str, to: &str) -> JoinHandle<Answer>;

    /// Sends a payout and returns when the provider has moved the money.
    async fn start_paying_out(&self, key: &str, to: &str) -> JoinHandle<Answer>;

    /// Her payments.
    async fn payments(&self) -> Vec<Value>;

    /// Her payouts.
    async fn payouts(&self) -> Vec<Value>;

    /// What a user has. All accounts together have nothing.
    async fn balance(&self, user: &str) -> i64;
}

impl Payments for App {
    fn order(&self, path: &str, key: &str, to: &str) -> RequestBuilder {
        self.post(path, &order(to)).bearer_auth("ann").header("Idempotency-Key", key)
    }

    async fn pay(&self, key: &str, to: &str) -> Answer {
        Answer::to(self.order("/payments", key, to)).await
    }

    async fn pay_out(&self, key: &str, to: &str) -> Answer {
        Answer::to(self.order("/payouts", key, to)).await
    }

    async fn start_paying(&self, key: &str, to: &str) -> JoinHandle<Answer> {
        let request = self.order("/payments", key, to);
        self.start_request(request, "a payment is processed").await
    }

    async fn start_paying_out(&self, key: &str, to: &str) -> JoinHandle<Answer> {
        let request = self.order("/payouts", key, to);
        self.start_request(request, "the provider has the money").await
    }

    async fn payments(&self) -> Vec<Value> {
        self.list("/payments").await
    }

    async fn payouts(&self) -> Vec<Value> {
        self.list("/payouts").await
    }

    async fn balance(&self, user: &str) -> i64 {
        let request = self.request(reqwest::Method::GET, "/balance").bearer_auth(user);
        let body = Answer::to(request).await.body;
        assert_eq!(body["total"], 0, "{body}");
        body["balance"].as_i64().unwrap()
    }
}
