//! Messages.

use demo::on_each_database;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::app::{Answer, App, Chats, setup};

/// Says something in a chat, as ann.
fn saying(app: &App, chat: &Value, text: &str) -> RequestBuilder {
    let path = format!("/api/chats/{}/messages", chat["id"].as_str().unwrap());
    app.post(&path, &json!({ "text": text })).bearer_auth("ann")
}

on_each_database! {
    async fn a_message_is_kept_in_its_chat(database: Database) {
        let app = setup(database).start();
        let (chat, other) = (app.open(&["ann", "bob"]).await.body, app.open(&["ann", "zoe"]).await.body);
        let first = Answer::to(saying(&app, &chat, "hello")).await;
        assert_eq!(first.status, StatusCode::CREATED);
        let id = &first.body["id"];
        assert!(id.is_string());
        let expected = json!({ "id": id, "chat_id": chat["id"], "author": "ann", "text": "hello" });
        assert_eq!(first.body, expected);
        let second = Answer::to(saying(&app, &chat, "hello")).await;
        let path = format!("/api/chats/{}/messages", chat["id"].as_str().unwrap());
        assert_eq!(app.list(&path).await, [first.body, second.body], "oldest first, and no key: twice");
        assert!(app.texts(other["id"].as_str().unwrap()).await.is_empty());
    }

    async fn a_message_with_a_key_is_said_once(database: Database) {
        let app = setup(database).variable("HANDLER_DELAY_MS", "300").start();
        let chat = app.open(&["ann", "bob"]).await.body;
        let send = async |text| {
            Answer::to(saying(&app, &chat, text).header("Idempotency-Key", "k")).await
        };
        let answers = futures_util::future::join_all((0..20).map(|_| send("hello"))).await;
        assert!(answers.iter().all(|it| it.content() == answers[0].content()));
        assert_eq!(answers[0].status, StatusCode::CREATED);
        assert_eq!(send("goodbye").await.problem(), "mismatch");
        assert_eq!(app.texts(chat["id"].as_str().unwrap()).await, ["hello"]);
    }

    async fn a_message_to_no_chat_and_no_message_are_refused(database: Database) {
        let app = setup(database).start();
        let chat = app.open(&["ann", "bob"]).await.body;
        for id in ["nobody", "a%00b", "%27", "%F0%9F%98%80"] {
            let nowhere = saying(&app, &json!({ "id": id }), "hello").header("Idempotency-Key", id);
            assert_eq!(Answer::to(nowhere).await.status, StatusCode::NOT_FOUND, "{id}");
            let list = app.get(&format!("/api/chats/{id}/messages"));
            assert_eq!(Answer::to(list).await.status, StatusCode::NOT_FOUND, "{id}");
        }
        for text in ["", "\0"] {
            let answer = Answer::to(saying(&app, &chat, text)).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        }
        let path = format!("/api/chats/{}/messages", chat["id"].as_str().unwrap());
        let anonymous = Answer::to(app.post(&path, &json!({ "text": "hello" }))).await;
        assert_eq!(anonymous.status, StatusCode::UNAUTHORIZED);
        let listed = Answer::to(app.request(Method::GET, &path)).await;
        assert_eq!(listed.body, json!([]));
    }
}
