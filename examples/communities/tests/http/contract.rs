//! What the API says it does.

use demo::on_each_database;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    app::{Answer, Communities, setup},
    tables::counts,
};

on_each_database! {
    async fn a_community_is_created_with_its_owner_and_a_subscription_and_listed(database: Database) {
        let setup = setup(database);
        let app = setup.start();
        let form = app.form(&json!({ "name": " My Community ", "tags": ["rust", "日本"] }));
        let first = Answer::to(form.header("Idempotency-Key", "k")).await;
        assert_eq!(first.status, StatusCode::CREATED);
        let id = first.body["id"].as_str().unwrap();
        assert!(id.len() >= 16);
        let expected = json!({
            "id": id, "name": "My Community", "slug": "my-community", "tags": ["rust", "日本"]
        });
        assert_eq!(first.body, expected);
        let location = first.header("location").unwrap();
        assert_eq!(location, format!("/api/communities/{id}"));
        assert_eq!(Answer::to(app.get(location)).await.body, expected);
        assert_eq!(counts(&setup.database_url()).await, [1, 1, 1, 2, 1]);
        let second = app.create("other", "Zebras").await;
        assert_eq!(app.communities().await, [second.body, first.body], "newest first");
        assert_eq!(app.get("/healthz").send().await.unwrap().status(), StatusCode::OK);
    }

    async fn without_a_key_each_request_creates_a_community(database: Database) {
        let setup = setup(database);
        let app = setup.start();
        for _ in 0..2 {
            let answer = Answer::to(app.form(&json!({ "name": "My Community" }))).await;
            assert_eq!((answer.status, answer.replayed()), (StatusCode::CREATED, false));
        }
        assert_eq!(app.slugs().await, ["my-community", "my-community-1"]);
        assert_eq!(counts(&setup.database_url()).await, [2, 2, 2, 0, 0]);
    }

    async fn a_key_of_more_than_255_bytes_is_refused_and_told_so(database: Database) {
        let app = setup(database).start();
        let longest = "k".repeat(255);
        let refused = app.create(&format!("{longest}k"), "My Community").await;
        assert_eq!((refused.status, refused.problem()), (StatusCode::BAD_REQUEST, "key-invalid"));
        assert!(refused.body["detail"].as_str().unwrap().contains("at most 255"), "{refused:?}");
        assert!(app.communities().await.is_empty());
        assert_eq!(app.create(&longest, "My Community").await.status, StatusCode::CREATED);
        assert!(app.create(&longest, "My Community").await.replayed());
    }

    async fn what_is_not_acceptable_is_refused_before_its_key_is_claimed(database: Database) {
        let setup = setup(database);
        let app = setup.start();
        let long = "ß".repeat(81);
        for (body, said) in [
            (json!({ "name": "" }), "give the community a name"),
            (json!({ "name": " \t\n\u{3000}" }), "give the community a name"),
            (json!({ "name": "\u{200b} \u{202e}\u{feff}" }), "give the community a name"),
            (json!({ "name": long }), "at most 80 characters"),
            (json!({ "name": "a\nb" }), "control characters"),
            (json!({ "name": "a\0b" }), "control characters"),
            (json!({ "title": "My Community" }), "missing field `name`"),
            (json!({ "name": "My Community", "tags": "rust" }), "tags"),
            (json!("My Community"), "expected an object with `name`"),
        ] {
            let form = app.form(&body).header("Idempotency-Key", "k");
            let answer = Answer::to(form).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
            assert!(answer.body["error"].as_str().unwrap().contains(said), "{body}: {answer:?}");
        }
        let post = || app.request(Method::POST, "/api/communities").bearer_auth("ann");
        let json = |text: &'static str| post().header("Content-Type", "application/json").body(text);
        for (request, status) in [
            (json("{\"name\": "), StatusCode::BAD_REQUEST),
            (json("\u{1}\u{2}"), StatusCode::BAD_REQUEST),
            (post().body("My Community"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ] {
            let answer = Answer::to(request.header("Idempotency-Key", "k")).await;
            assert_eq!(answer.status, status, "{answer:?}");
            assert!(answer.body["error"].is_string());
        }
        let giant = post().body(vec![b' '; (2 << 20) + 1]).header("Idempotency-Key", "k");
        assert_eq!(Answer::to(giant).await.status, StatusCode::PAYLOAD_TOO_LARGE);
        let nobody = app.post("/api/communities", &json!({ "name": "My Community" }));
        let nobody = Answer::to(nobody.header("Idempotency-Key", "k")).await;
        assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
        assert_eq!(counts(&setup.database_url()).await, [0; 5]);
        let corrected = app.create("k", &"ß".repeat(80)).await;
        assert_eq!((corrected.status, corrected.replayed()), (StatusCode::CREATED, false));
    }

    async fn another_community_with_a_used_key_is_refused(database: Database) {
        let app = setup(database).start();
        app.create("k", "My Community").await;
        let answer = app.create("k", "Another").await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer.problem(), "mismatch");
        assert_eq!(app.slugs().await, ["my-community"]);
    }

    async fn users_do_not_share_keys_and_everybody_sees_all_communities(database: Database) {
        let app = setup(database).start();
        let of_ann = app.create("k", "My Community").await;
        let form = app.post("/api/communities", &json!({ "name": "My Community" }));
        let of_bob = Answer::to(form.bearer_auth("bob").header("Idempotency-Key", "k")).await;
        assert_eq!((of_bob.status, of_bob.replayed()), (StatusCode::CREATED, false));
        assert_eq!(of_bob.body["slug"], "my-community-1");
        let anonymous = Answer::to(app.request(Method::GET, "/api/communities")).await;
        assert_eq!(anonymous.body, json!([of_bob.body, of_ann.body]));
    }

    async fn what_is_not_there_is_not_found(database: Database) {
        let app = setup(database).start();
        for id in ["00000000-0000-4000-8000-000000000000", "my-community", "%00", "%F0%9F%A6%80"] {
            let answer = Answer::to(app.get(&format!("/api/communities/{id}"))).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}");
            assert_eq!(answer.body["error"], "there is no such community");
        }
    }
}
