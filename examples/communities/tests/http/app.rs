//! The communities example as its clients use it.

use demo::testing::until_answered;
pub(crate) use demo::testing::{Answer, App, Database, Setup};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// An environment for the example.
pub(crate) fn setup(database: Database) -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_communities"), database)
}

/// What users do with the example.
pub(crate) trait Communities {
    /// A form of ann's, without a key.
    fn form(&self, body: &Value) -> RequestBuilder;

    /// A form of ann's that asks for a name.
    fn named(&self, key: &str, name: &str) -> RequestBuilder {
        self.form(&json!({ "name": name })).header("Idempotency-Key", key)
    }

    /// Sends it.
    async fn create(&self, key: &str, name: &str) -> Answer {
        Answer::to(self.named(key, name)).await
    }

    /// Sends it until the answer is not that it is running.
    async fn create_until_answered(&self, key: &str, name: &str) -> Answer {
        until_answered(async || self.create(key, name).await).await
    }

    /// Sends it and returns when the community is being created.
    async fn start_creating(&self, key: &str, name: &str) -> JoinHandle<Answer>;

    /// Everybody's communities, newest first.
    async fn communities(&self) -> Vec<Value>;

    /// Their slugs, sorted.
    async fn slugs(&self) -> Vec<String> {
        let communities = self.communities().await;
        let slugs = communities.iter().map(|it| it["slug"].as_str().unwrap().to_owned());
        let mut slugs: Vec<_> = slugs.collect();
        slugs.sort_unstable();
        slugs
    }
}

impl Communities for App {
    fn form(&self, body: &Value) -> RequestBuilder {
        self.post("/api/communities", body).bearer_auth("ann")
    }

    async fn start_creating(&self, key: &str, name: &str) -> JoinHandle<Answer> {
        self.start_request(self.named(key, name), "a community is being created").await
    }

    async fn communities(&self) -> Vec<Value> {
        self.list("/api/communities").await
    }
}
