//! What the example answered.

use reqwest::{Response, StatusCode};
use serde_json::Value;

/// A response, read to its end.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) replayed: bool,
    pub(crate) location: Option<String>,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Self {
        let header = |name| response.headers().get(name).map(|it| it.to_str().unwrap().to_owned());
        let (replayed, location) = (header("idempotency-replayed").is_some(), header("location"));
        let status = response.status();
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self { status, replayed, location, body }
    }

    /// The name of the problem that the answer is, or nothing.
    pub(crate) fn problem(&self) -> &str {
        let uri = self.body["type"].as_str().unwrap_or_default();
        uri.strip_prefix("urn:problem-type:idem:").unwrap_or_default()
    }

    pub(crate) fn is_in_flight(&self) -> bool {
        self.problem() == "in-flight"
    }

    /// The answer without the marker of a replay.
    pub(crate) fn content(&self) -> (StatusCode, &Option<String>, &Value) {
        (self.status, &self.location, &self.body)
    }
}
