//! What the API says it does.

use demo::on_each_database;
use reqwest::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use crate::app::{Answer, Enveloped, Events, FIRST, NEITHER, REPLAY, key, plan, setup};

on_each_database! {
    async fn the_same_key_is_the_same_event_and_the_answer_says_so(database: Database) {
        let app = setup(database).start();
        let key = key();
        let first = plan(&key, "Summer party", 12).sent(&app).await;
        let expected = json!({
            "id": first.event()["id"].as_str().unwrap(),
            "owner": "ann", "title": "Summer party", "participants": 12, "price": 0
        });
        assert_eq!(first.body, json!({ "success": true, "data": { "event": expected } }));
        assert_eq!(first.markers(), FIRST);
        let retry = plan(&key, "Summer party", 12).sent(&app).await;
        assert_eq!((retry.content(), retry.markers()), (first.content(), REPLAY));
        assert_eq!(app.events().await, [expected]);
        assert_eq!(app.credit("ann").await, 1000);
    }

    async fn the_list_has_all_users_events_and_asks_nobody_who_he_is(database: Database) {
        let app = setup(database).start();
        let (one, other) = (key(), key());
        let of_ann = plan(&one, "first", 1).sent(&app).await;
        let of_bob = plan(&other, "second", 20).of("bob").sent(&app).await;
        let list = Answer::to(app.request(Method::GET, "/api/events")).await;
        assert_eq!(list.body, json!([of_bob.event(), of_ann.event()]), "newest first");
        assert_eq!(app.get("/healthz").send().await.unwrap().status(), StatusCode::OK);
    }

    async fn another_users_same_key_is_another_event(database: Database) {
        let app = setup(database).start();
        let key = key();
        let of_ann = plan(&key, "party", 5).sent(&app).await;
        let of_bob = plan(&key, "another party", 7).of("bob").sent(&app).await;
        assert_eq!((of_ann.markers(), of_bob.markers()), (FIRST, FIRST));
        assert_ne!(of_ann.event()["id"], of_bob.event()["id"]);
        assert_eq!(app.events().await.len(), 2);
    }

    async fn a_key_is_a_uuid_of_any_version_in_any_case_with_quotes_or_without(database: Database) {
        let app = setup(database).start();
        let small = "8e03978e-40d5-43dd-bc93-6894a57f9324";
        let first = plan(small, "party", 5).sent(&app).await;
        assert_eq!(first.markers(), FIRST);
        for same in [small.to_uppercase(), format!("\"{small}\"")] {
            let retry = plan(&same, "party", 5).sent(&app).await;
            assert_eq!((retry.content(), retry.markers()), (first.content(), REPLAY), "{same}");
        }
        for other in [
            "c232ab00-9414-11ec-b3c8-9f6bdeced846",
            "01890a5d-ac96-774b-bcce-b302099a8057",
            "00000000-0000-0000-0000-000000000000",
        ] {
            assert_eq!(plan(other, "party", 5).sent(&app).await.markers(), FIRST, "{other}");
        }
        for refused in [
            "party-1",
            "8e03978e40d543ddbc936894a57f9324",
            "{8e03978e-40d5-43dd-bc93-6894a57f9324}",
            "urn:uuid:8e03978e-40d5-43dd-bc93-6894a57f9324",
            "8e03978e-40d5-43dd-bc93-6894a57f932",
            "8e03978e-40d5-43dd-bc93-6894a57f932g",
            "\"8e03978e-40d5-43dd-bc93-6894a57f9324",
            " ",
            "8e03978e-40d5-43dd-bc93-6894a57f9324, 8e03978e-40d5-43dd-bc93-6894a57f9324",
            "ключ",
            &Uuid::nil().to_string().repeat(10),
        ] {
            let answer = plan(refused, "party", 5).sent(&app).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (400, "IDEMPOTENCY_KEY_INVALID"));
            assert_eq!(answer.markers(), NEITHER);
        }
        assert_eq!(app.events().await.len(), 4);
    }

    async fn a_request_that_is_refused_leaves_its_key_free(database: Database) {
        let app = setup(database).start();
        let (key, long) = (key(), "ш".repeat(201));
        for (title, participants) in
            [("", 5), (" ", 5), ("a\0b", 5), ("a\nb", 5), (&long, 5), ("a", 0), ("a", -1), ("a", 10_001)]
        {
            let answer = plan(&key, title, participants).sent(&app).await;
            assert_eq!((answer.status.as_u16(), answer.markers()), (422, NEITHER));
        }
        let titles = plan(&key, &long[2..], 10_000).sent(&app).await;
        assert_eq!(titles.code(), "CONFIRMATION_REQUIRED", "the longest title, the most people");
        let free = crate::app::key();
        let answer = plan(&free, "Ёлка 🎄 'quoted'; --", 20).sent(&app).await;
        assert_eq!(answer.event()["title"], "Ёлка 🎄 'quoted'; --");
    }
}
