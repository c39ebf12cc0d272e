//! In which language a client is answered.

use demo::on_each_database;
use reqwest::header::HeaderMap;

use crate::app::Enveloped as _;
use crate::app::{Answer, App, Plan, REPLAY, key, plan, setup};

async fn asked(app: &App, plan: &Plan<'_>, languages: &str) -> Answer {
    Answer::to(plan.to(app).header("Accept-Language", languages)).await
}

/// The headers that are recorded, and the bytes.
async fn raw(app: &App, plan: &Plan<'_>, languages: &str) -> (HeaderMap, Vec<u8>) {
    let response = plan.to(app).header("Accept-Language", languages).send().await.unwrap();
    let mut headers = response.headers().clone();
    for marker in ["date", "x-idempotency-stored", "x-idempotency-replay"] {
        headers.remove(marker);
    }
    (headers, response.bytes().await.unwrap().to_vec())
}

on_each_database! {
    async fn the_client_says_which_language_it_prefers_and_english_is_the_default(
        database: Database
    ) {
        let app = setup(database).start();
        for (languages, expected) in [
            ("ru", "ru"),
            ("ru-RU,ru;q=0.9,en-US;q=0.8", "ru"),
            ("en;q=0.3, ru; q=0.7", "ru"),
            ("en;q=0.7, ru;q=0.3", "en"),
            ("de, fr;q=0.9", "en"),
            ("de, ru;q=0.1", "ru"),
            ("*", "en"),
            ("nonsense;;q=,", "en"),
        ] {
            let answer = asked(&app, &plan("k", "party", 5), languages).await;
            assert_eq!(answer.header("content-language"), Some(expected), "{languages}");
        }
        let silent = plan("k", "party", 5).sent(&app).await;
        assert_eq!(silent.header("content-language"), Some("en"));
    }

    async fn what_is_not_final_is_told_in_the_language_of_each_request(database: Database) {
        let app = setup(database).start();
        let (key, plan_of) = (key(), plan);
        for language in ["ru", "en", "ru"] {
            let answer = asked(&app, &plan_of(&key, "gala", 25), language).await;
            assert_eq!(answer.code(), "CONFIRMATION_REQUIRED");
            assert_eq!(answer.header("content-language"), Some(language));
        }
    }

    async fn a_recorded_refusal_keeps_the_language_of_the_first_request(database: Database) {
        let app = setup(database).start();
        let key = key();
        let plan = plan(&key, "refused", 5);
        let first = raw(&app, &plan, "ru").await;
        assert_eq!(first.0["content-language"], "ru");
        assert_eq!(raw(&app, &plan, "en").await, first);
        let replay = asked(&app, &plan, "en").await;
        assert_eq!((replay.markers(), replay.header("content-language")), (REPLAY, Some("ru")));
    }

    async fn a_success_has_no_language(database: Database) {
        let app = setup(database).start();
        let answer = asked(&app, &plan(&key(), "party", 5), "ru").await;
        assert_eq!(answer.status, 201);
        assert_eq!((answer.header("content-language"), answer.header("vary")), (None, None));
    }
}
