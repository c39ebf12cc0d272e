//! An application, and the one question that most tests ask of it.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::FromRef,
    http::{HeaderMap, Request, StatusCode},
    routing::MethodRouter,
};
use idem::{Idem, MemoryStore};
use tower::ServiceExt;

#[derive(Clone, FromRef)]
pub(crate) struct App {
    pub(crate) idem: Idem,
    pub(crate) mailer: Mailer,
}

impl App {
    pub(crate) fn new() -> Self {
        Self { idem: Idem::builder(MemoryStore::new()).build().unwrap(), mailer: Mailer("smtp") }
    }
}

/// A part of the state that handlers take alone.
#[derive(Clone)]
pub(crate) struct Mailer(pub(crate) &'static str);

/// A number that no other call returns: an answer that holds one tells executions apart.
pub(crate) fn execution() -> u32 {
    static EXECUTIONS: AtomicU32 = AtomicU32::new(0);
    EXECUTIONS.fetch_add(1, Ordering::SeqCst)
}

/// A response, read to its end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn is_replay(&self) -> bool {
        self.headers.get("idempotency-replayed").is_some_and(|it| it == "true")
    }
}

/// `POST` with a key, and a body of a type if there is one.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) uri: String,
    pub(crate) key: Option<&'static str>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

pub(crate) fn call(uri: &str) -> Call {
    Call {
        method: "POST",
        uri: uri.to_owned(),
        key: Some("k"),
        headers: Vec::new(),
        body: String::new(),
    }
}

impl Call {
    pub(crate) fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    pub(crate) fn without_key(self) -> Self {
        Self { key: None, ..self }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, content_type: &str, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self.header("content-type", content_type)
    }

    pub(crate) fn json(self, body: &str) -> Self {
        self.body("application/json", body)
    }

    pub(crate) async fn send(self, app: &Router) -> Answer {
        let mut request = Request::builder().method(self.method).uri(self.uri);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(key) = self.key {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(Body::from(self.body)).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }
}

/// Sends the call twice and compares: the second answer is a replay of the first. Returns the first.
pub(crate) async fn replayed(app: &Router, call: Call) -> Answer {
    let first = call.clone().send(app).await;
    assert!(!first.is_replay(), "{first:?}");
    let mut second = call.send(app).await;
    assert!(second.is_replay(), "{first:?} {second:?}");
    second.headers.remove("idempotency-replayed");
    assert_eq!(first, second);
    first
}

/// [`replayed`] for one handler at `/`.
pub(crate) async fn replays(handler: MethodRouter<App>, call: Call) -> Answer {
    replayed(&Router::new().route("/", handler).with_state(App::new()), call).await
}
