//! What the example answered.

use reqwest::{RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::Value;

/// A response, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as JSON, or its text as a JSON string.
    pub body: Value,
}

impl Answer {
    /// Sends a request.
    pub async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self { status, headers, body }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|it| it.to_str().unwrap())
    }

    /// Whether it is marked as a replay.
    pub fn replayed(&self) -> bool {
        self.header("idempotency-replayed").is_some()
    }

    /// The name of the problem that the answer is, or nothing.
    pub fn problem(&self) -> &str {
        let uri = self.body["type"].as_str().unwrap_or_default();
        uri.strip_prefix("urn:problem-type:idem:").unwrap_or_default()
    }

    /// Whether the request runs elsewhere, however the example says so.
    pub fn is_in_flight(&self) -> bool {
        self.status == StatusCode::CONFLICT && self.header("retry-after").is_some()
    }

    /// The answer without the marker of a replay.
    pub fn content(&self) -> (StatusCode, Option<&str>, &Value) {
        (self.status, self.header("location"), &self.body)
    }
}
