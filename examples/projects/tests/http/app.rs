//! The projects example as its clients use it.

use std::time::{Duration, Instant};

use demo::testing::PATIENCE;
pub(crate) use demo::testing::{Answer, App, Database, Setup};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// An environment for the example.
pub(crate) fn setup(database: Database) -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_projects"), database)
}

/// What the example logs when it begins to create a project.
pub(crate) const CREATES: &str = "a project is being created";

/// What users do with the example, and those who run it.
pub(crate) trait Projects {
    /// A request of ann's, without a key.
    fn named(&self, name: &str) -> RequestBuilder;

    /// Sends one with a key.
    async fn create(&self, key: &str, name: &str) -> Answer {
        Answer::to(self.named(name).header("Idempotency-Key", key)).await
    }

    /// Everybody's projects, newest first.
    async fn projects(&self) -> Vec<Value>;

    /// What the probe says.
    async fn ready(&self) -> Answer;

    /// Waits until the probe says that of the cache.
    async fn has_cache(&self, cache: &str);

    /// The value of a metric that counts, 0 when it is not there.
    async fn metric(&self, name: &str) -> i64;
}

impl Projects for App {
    fn named(&self, name: &str) -> RequestBuilder {
        self.post("/api/projects", &json!({ "name": name })).bearer_auth("ann")
    }

    async fn projects(&self) -> Vec<Value> {
        self.list("/api/projects").await
    }

    async fn ready(&self) -> Answer {
        Answer::to(self.request(reqwest::Method::GET, "/readyz")).await
    }

    async fn has_cache(&self, cache: &str) {
        let start = Instant::now();
        loop {
            let ready = self.ready().await;
            assert_eq!(ready.status, StatusCode::OK);
            if ready.body["cache"] == cache {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "the cache is not {cache}: {ready:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn metric(&self, name: &str) -> i64 {
        let metrics = Answer::to(self.request(reqwest::Method::GET, "/metrics")).await;
        assert_eq!(metrics.status, StatusCode::OK);
        let text = metrics.body.as_str().unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |it| it.parse().unwrap())
    }
}

/// The one project that all answers are, each a 201.
pub(crate) fn one_project(answers: &[Answer]) -> String {
    for answer in answers {
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        assert_eq!(answer.body, answers[0].body);
    }
    answers[0].body["id"].as_str().unwrap().to_owned()
}
