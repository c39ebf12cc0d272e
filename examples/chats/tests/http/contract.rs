//! What the API says it does.

use demo::on_each_database;
use reqwest::{Method, StatusCode, header::CONTENT_TYPE};
use serde_json::json;

use crate::app::{Answer, Chats, setup};

on_each_database! {
    async fn a_chat_is_opened_listed_and_replayed(database: Database) {
        let app = setup(database).start();
        let first = app.open(&["bob", "ann"]).await;
        assert_eq!(first.status, StatusCode::CREATED);
        let id = first.body["id"].as_str().unwrap();
        assert_eq!(first.body, json!({ "id": id, "participants": ["ann", "bob"] }));
        let again = app.open(&["ann", "bob"]).await;
        assert!(again.replayed() && !first.replayed());
        assert_eq!(first.content(), again.content());
        let group = app.open(&["ann", "bob", "carol"]).await;
        assert_eq!(app.chats().await, [group.body, first.body], "newest first");
        assert_eq!(app.get("/healthz").send().await.unwrap().status(), StatusCode::OK);
    }

    async fn whoever_asks_gets_the_same_chat(database: Database) {
        let app = setup(database).start();
        let of_ann = app.open(&["ann", "bob"]).await;
        let body = json!({ "participants": ["bob", "ann", "bob"] });
        let of_bob = Answer::to(app.post("/api/chats", &body).bearer_auth("bob")).await;
        assert!(of_bob.replayed());
        assert_eq!(of_ann.content(), of_bob.content());
    }

    async fn names_are_what_they_are(database: Database) {
        let app = setup(database).start();
        let mut ids = Vec::new();
        for other in ["bob", "Bob", " bob", "bob ", "bob,ann", "3:bob,", "b\"ob", "b'ob", "böb", "bo\u{308}b", "😀"] {
            let answer = app.open(&["ann", other]).await;
            assert_eq!((answer.status, answer.replayed()), (StatusCode::CREATED, false), "{other}");
            let names: Vec<&str> =
                answer.body["participants"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
            assert!(names.len() == 2 && names.contains(&other), "{names:?}");
            assert_eq!(app.open(&[other, "ann"]).await.content(), answer.content(), "{other}");
            ids.push(answer.body["id"].clone());
        }
        let listed: Vec<_> = app.chats().await.iter().rev().map(|it| it["id"].clone()).collect();
        assert_eq!(listed, ids);
    }

    async fn a_key_that_a_client_sends_all_the_same_is_not_read(database: Database) {
        let app = setup(database).start();
        let ids: Vec<_> = futures_util::future::join_all(
            [("k", "bob"), ("k", "carol"), ("other", "bob"), ("\"", "bob")].map(async |(key, other)| {
                let request = app.opening(&["ann", other]).header("Idempotency-Key", key);
                Answer::to(request).await.body["id"].clone()
            }),
        ).await;
        assert_ne!(ids[0], ids[1]);
        assert_eq!([&ids[0]; 2], [&ids[2], &ids[3]]);
    }

    async fn what_is_no_chat_is_refused_and_leaves_nothing(database: Database) {
        let app = setup(database).start();
        let long = "x".repeat(3000);
        for (participants, said) in [
            (json!([]), "two different people"),
            (json!(["ann"]), "two different people"),
            (json!(["ann", "ann"]), "two different people"),
            (json!(["ann", ""]), "empty"),
            (json!(["ann", "b\0b"]), "U+0000"),
            (json!(["ann", long]), "too long"),
            (json!(["ann", 7]), "string"),
            (json!("ann"), "sequence"),
        ] {
            let body = json!({ "participants": participants });
            for _ in 0..2 {
                let answer = Answer::to(app.post("/api/chats", &body).bearer_auth("ann")).await;
                assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
                assert!(!answer.replayed());
                assert!(answer.body.as_str().unwrap().contains(said), "{answer:?}");
            }
        }
        let missing = Answer::to(app.post("/api/chats", &json!({})).bearer_auth("ann")).await;
        assert_eq!(missing.status, StatusCode::UNPROCESSABLE_ENTITY);
        let raw = |body: Vec<u8>, content_type| {
            let request = app.request(Method::POST, "/api/chats").bearer_auth("ann");
            Answer::to(request.header(CONTENT_TYPE, content_type).body(body))
        };
        let json = "application/json";
        for (body, content_type, status) in [
            (b"{\"participants\": [".to_vec(), json, StatusCode::BAD_REQUEST),
            (b"{\"participants\": [\"ann\", \"\\ud800\"]}".to_vec(), json, StatusCode::BAD_REQUEST),
            (b"{\"participants\": [\"ann\", \"\xff\"]}".to_vec(), json, StatusCode::BAD_REQUEST),
            (vec![], json, StatusCode::BAD_REQUEST),
            (b"ann,bob".to_vec(), "text/plain", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ] {
            assert_eq!(raw(body, content_type).await.status, status);
        }
        assert!(app.chats().await.is_empty());
    }

    async fn nobody_opens_a_chat_without_saying_who_he_is(database: Database) {
        let app = setup(database).start();
        let known = app.open(&["ann", "bob"]).await;
        for participants in [["ann", "bob"], ["ann", "carol"]] {
            let body = json!({ "participants": participants });
            let answer = Answer::to(app.post("/api/chats", &body)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "a replay, too");
        }
        let listed = Answer::to(app.request(Method::GET, "/api/chats")).await;
        assert_eq!(listed.body, json!([known.body]), "the list is anybody's: this is a demo");
    }
}
