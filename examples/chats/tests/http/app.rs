//! The chats example as its clients use it.

use demo::testing::Setup;
pub(crate) use demo::testing::{Answer, App, Database};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// An environment for the example.
pub(crate) fn setup(database: Database) -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_chats"), database)
}

/// What the example logs when it begins to open a chat.
pub(crate) const OPENS: &str = "a chat is opened";

/// What users do with the example.
pub(crate) trait Chats {
    /// A request of ann's for a chat.
    fn opening(&self, participants: &[&str]) -> RequestBuilder;

    /// Opens a chat as ann.
    async fn open(&self, participants: &[&str]) -> Answer {
        Answer::to(self.opening(participants)).await
    }

    /// All chats, newest first.
    async fn chats(&self) -> Vec<Value>;

    /// The texts in a chat, oldest first.
    async fn texts(&self, chat: &str) -> Vec<String>;
}

impl Chats for App {
    fn opening(&self, participants: &[&str]) -> RequestBuilder {
        self.post("/api/chats", &json!({ "participants": participants })).bearer_auth("ann")
    }

    async fn chats(&self) -> Vec<Value> {
        self.list("/api/chats").await
    }

    async fn texts(&self, chat: &str) -> Vec<String> {
        let messages = self.list(&format!("/api/chats/{chat}/messages")).await;
        messages.iter().map(|it| it["text"].as_str().unwrap().to_owned()).collect()
    }
}

/// The one chat that all answers are, each a 201.
pub(crate) fn one_chat(answers: &[Answer]) -> String {
    for answer in answers {
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        assert_eq!(answer.body, answers[0].body);
    }
    answers[0].body["id"].as_str().unwrap().to_owned()
}
