//! The events example as its clients use it.

pub(crate) use demo::testing::{Answer, App, Database, PATIENCE};
use demo::testing::{Setup, until_answered};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// An environment for the example.
pub(crate) fn setup(database: Database) -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_events"), database)
}

/// A new key.
pub(crate) fn key() -> String {
    Uuid::new_v4().to_string()
}

/// Who asks for what: ann, and without a word about the price, unless something else is said.
pub(crate) struct Plan<'a> {
    user: &'a str,
    path: &'a str,
    key: &'a str,
    body: Value,
}

pub(crate) fn plan<'a>(key: &'a str, title: &str, participants: i64) -> Plan<'a> {
    let body = json!({ "title": title, "participants": participants });
    Plan { user: "ann", path: "/api/events", key, body }
}

/// A plan whose price is confirmed.
pub(crate) fn confirmed<'a>(key: &'a str, title: &str, participants: i64) -> Plan<'a> {
    Plan { path: "/api/events?confirm_credit=1", ..plan(key, title, participants) }
}

impl<'a> Plan<'a> {
    pub(crate) fn of(self, user: &'a str) -> Self {
        Self { user, ..self }
    }

    pub(crate) fn to(&self, app: &App) -> RequestBuilder {
        let request = app.post(self.path, &self.body).bearer_auth(self.user);
        request.header("Idempotency-Key", self.key)
    }

    pub(crate) async fn sent(&self, app: &App) -> Answer {
        Answer::to(self.to(app)).await
    }

    /// Sends it until the answer is not that it is running.
    pub(crate) async fn answered(&self, app: &App) -> Answer {
        until_answered(async || self.sent(app).await).await
    }

    /// Sends it and returns when the event is being created.
    pub(crate) async fn started(&self, app: &App) -> JoinHandle<Answer> {
        app.start_request(self.to(app), "an event is being created").await
    }
}

/// What is there.
pub(crate) trait Events {
    async fn events(&self) -> Vec<Value>;

    /// What a user can spend.
    async fn credit(&self, user: &str) -> i64;
}

impl Events for App {
    async fn events(&self) -> Vec<Value> {
        self.list("/api/events").await
    }

    async fn credit(&self, user: &str) -> i64 {
        let answer = Answer::to(self.request(Method::GET, "/api/account").bearer_auth(user)).await;
        answer.body["data"]["credit"].as_i64().unwrap()
    }
}

/// An answer in the envelope.
pub(crate) trait Enveloped {
    /// The event that was created.
    fn event(&self) -> &Value;

    /// The code of the error.
    fn code(&self) -> &str;

    /// Whether it is marked as recorded now, and whether as recorded before.
    fn markers(&self) -> (bool, bool);
}

/// The answer of the execution.
pub(crate) const FIRST: (bool, bool) = (true, false);

/// The answer again.
pub(crate) const REPLAY: (bool, bool) = (false, true);

/// Nothing was recorded.
pub(crate) const NEITHER: (bool, bool) = (false, false);

impl Enveloped for Answer {
    fn event(&self) -> &Value {
        assert_eq!((self.status.as_u16(), &self.body["success"]), (201, &json!(true)), "{self:?}");
        &self.body["data"]["event"]
    }

    fn code(&self) -> &str {
        assert_eq!(self.body["success"], false, "{self:?}");
        self.body["error"]["code"].as_str().unwrap()
    }

    fn markers(&self) -> (bool, bool) {
        let is_marked = |name| self.header(name) == Some("true");
        (is_marked("x-idempotency-stored"), is_marked("x-idempotency-replay"))
    }
}
