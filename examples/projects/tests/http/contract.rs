//! What the API says it does.

use demo::on_each_database;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::app::{Answer, Projects, setup};

on_each_database! {
    async fn a_project_is_created_listed_and_replayed(database: Database) {
        let app = setup(database).start();
        let first = app.create("k", " Apollo ").await;
        assert_eq!(first.status, StatusCode::CREATED);
        let id = first.body["id"].as_str().unwrap();
        assert_eq!(first.body, json!({ "id": id, "name": "Apollo", "owner": "ann" }));
        let again = app.create("k", "Apollo").await;
        assert!(again.replayed() && !first.replayed());
        assert_eq!(first.content(), again.content());
        let second = app.create("other", "Zebra").await;
        assert_eq!(app.projects().await, [second.body.clone(), first.body.clone()], "newest first");
        let listed = Answer::to(app.request(Method::GET, "/api/projects")).await;
        assert_eq!(listed.body, json!([second.body, first.body]), "the list is anybody's");
        assert_eq!(app.get("/healthz").send().await.unwrap().status(), StatusCode::OK);
    }

    async fn without_a_key_it_is_one_project_of_that_name_and_user_a_day(database: Database) {
        let app = setup(database).start();
        let first = Answer::to(app.named("Apollo")).await;
        for name in ["Apollo", " Apollo", "Apollo\u{3000}"] {
            let again = Answer::to(app.named(name)).await;
            assert!(again.replayed(), "{again:?}");
            assert_eq!(first.content(), again.content());
        }
        let other_name = Answer::to(app.named("apollo")).await;
        let of_bob = Answer::to(app.post("/api/projects", &json!({ "name": "Apollo" })).bearer_auth("bob")).await;
        let with_key = app.create("k", "Apollo").await;
        for other in [&other_name, &of_bob, &with_key] {
            assert_eq!((other.status, other.replayed()), (StatusCode::CREATED, false));
        }
        assert_eq!(app.projects().await.len(), 4);
    }

    async fn whatever_host_and_page_a_request_comes_by_its_key_is_the_same(database: Database) {
        let app = setup(database).start();
        let hosts = ["app.example.com", "www.example.com", "example.org:8443", "localhost"];
        for key in [Some("k"), None] {
            let mut answers = Vec::new();
            for host in hosts {
                let path = format!("/api/projects?from={host}");
                let request = app.post(&path, &json!({ "name": "Apollo" })).bearer_auth("ann");
                let mut request = request.header("Host", host);
                request = request.header("Origin", format!("https://{host}"));
                request = request.header("Referer", format!("https://{host}/projects?tab={host}"));
                if let Some(key) = key {
                    request = request.header("Idempotency-Key", key);
                }
                answers.push(Answer::to(request).await);
            }
            crate::app::one_project(&answers);
            assert_eq!(answers.iter().filter(|it| !it.replayed()).count(), 1);
        }
        assert_eq!(app.projects().await.len(), 2);
    }

    async fn another_project_with_a_used_key_is_refused(database: Database) {
        let app = setup(database).start();
        app.create("k", "Apollo").await;
        let other = app.create("k", "Zebra").await;
        assert_eq!((other.status, other.problem()), (StatusCode::UNPROCESSABLE_ENTITY, "mismatch"));
        assert_eq!(app.projects().await.len(), 1);
    }

    async fn what_is_not_acceptable_is_refused_before_its_key_is_claimed(database: Database) {
        let app = setup(database).start();
        for (body, said) in [
            (json!({ "name": "" }), "give the project a name"),
            (json!({ "name": " \t\n\u{3000}" }), "give the project a name"),
            (json!({ "name": "ß".repeat(81) }), "at most 80 characters"),
            (json!({ "name": "a\0b" }), "control characters"),
            (json!({ "title": "Apollo" }), "missing field `name`"),
            (json!({ "name": 7 }), "string"),
            (json!("Apollo"), "expected an object with `name`"),
        ] {
            let request = app.post("/api/projects", &body).bearer_auth("ann");
            let answer = Answer::to(request.header("Idempotency-Key", "k")).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
            assert!(answer.body["error"].as_str().unwrap().contains(said), "{body}: {answer:?}");
        }
        let post = || app.request(Method::POST, "/api/projects").bearer_auth("ann");
        let json = |text: &'static str| post().header("Content-Type", "application/json").body(text);
        for (request, status) in [
            (json("{\"name\": "), StatusCode::BAD_REQUEST),
            (post().body("Apollo"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ] {
            let answer = Answer::to(request.header("Idempotency-Key", "k")).await;
            assert_eq!(answer.status, status, "{answer:?}");
        }
        let nobody = app.post("/api/projects", &json!({ "name": "Apollo" }));
        let nobody = Answer::to(nobody.header("Idempotency-Key", "k")).await;
        assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
        let invalid = app.create(&"k".repeat(256), "Apollo").await;
        assert_eq!((invalid.status, invalid.problem()), (StatusCode::BAD_REQUEST, "key-invalid"));
        assert!(app.projects().await.is_empty());
        let corrected = app.create("k", &"ß".repeat(80)).await;
        assert_eq!((corrected.status, corrected.replayed()), (StatusCode::CREATED, false));
    }
}
