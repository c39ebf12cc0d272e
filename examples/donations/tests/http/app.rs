//! The donations example as its clients use it.

pub(crate) use demo::testing::{Answer, App};
use demo::testing::{Database, Setup, until_answered};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

pub(crate) const GUARDED: &str = "/donations";
#[cfg(feature = "unguarded")]
pub(crate) const UNGUARDED: &str = "/unguarded/donations";

/// An environment for the example.
pub(crate) fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_donations"), Database::Sqlite)
}

pub(crate) fn donation() -> Value {
    json!({ "senderId": 1, "receiverId": 2, "amount": 12.5, "memo": "thanks" })
}

/// What donors do with the example.
pub(crate) trait Donations {
    /// A donation of a user's.
    fn donation(&self, path: &str, user: &str, key: &str) -> RequestBuilder;

    /// Gives, as ann.
    async fn give(&self, key: &str) -> Answer;

    /// Gives until the answer is not that it is running.
    async fn give_until_answered(&self, key: &str) -> Answer {
        until_answered(async || self.give(key).await).await
    }

    /// Sends a donation and returns when it is being processed.
    async fn start_giving(&self, key: &str) -> JoinHandle<Answer>;

    /// Everybody's donations.
    async fn donations(&self) -> Vec<Value>;
}

impl Donations for App {
    fn donation(&self, path: &str, user: &str, key: &str) -> RequestBuilder {
        self.post(path, &donation()).bearer_auth(user).header("Idempotency-Key", key)
    }

    async fn give(&self, key: &str) -> Answer {
        Answer::to(self.donation(GUARDED, "ann", key)).await
    }

    async fn start_giving(&self, key: &str) -> JoinHandle<Answer> {
        let request = self.donation(GUARDED, "ann", key);
        self.start_request(request, "a donation is processed").await
    }

    async fn donations(&self) -> Vec<Value> {
        self.list(GUARDED).await
    }
}

/// The code of an error, in the shape that all errors of the API have, or nothing.
pub(crate) fn code(answer: &Answer) -> &str {
    let Some(code) = answer.body["error"]["code"].as_str() else { return "" };
    assert!(answer.status.is_client_error() || answer.status.is_server_error(), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let message = answer.body["error"]["message"].as_str().unwrap();
    let envelope = json!({ "success": false, "error": { "code": code, "message": message } });
    assert_eq!(answer.body, envelope);
    code
}

/// Whether the table refused the donation.
pub(crate) fn is_duplicate(answer: &Answer) -> bool {
    (answer.status, code(answer)) == (StatusCode::CONFLICT, "DUPLICATE_DONATION")
}
