//! Tags are not worth a community.

use demo::{
    on_each_database,
    testing::sql::{execute, is_sqlite},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    app::{Answer, App, Communities, setup},
    tables::counts,
};

async fn create_with(app: &App, key: &str, tags: Value) -> Answer {
    let form = app.form(&json!({ "name": "My Community", "tags": tags }));
    let answer = Answer::to(form.header("Idempotency-Key", key)).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    answer
}

on_each_database! {
    async fn tags_that_the_database_refuses_are_left_out_and_the_community_is_created(
        database: Database
    ) {
        let setup = setup(database);
        let app = setup.start();
        let (longest, longer) = ("ß".repeat(30), "private".repeat(5));
        let tags = json!(["rust", longer, " ", "a\0b", "rust", longest, "it's \"quoted\""]);
        let first = create_with(&app, "k", tags.clone()).await;
        assert_eq!(first.body["tags"], json!(["rust", longest, "it's \"quoted\""]));
        assert_eq!(counts(&setup.database_url()).await, [1, 1, 1, 3, 1]);
        let retry = create_with(&app, "k", tags).await;
        assert!(retry.replayed());
        assert_eq!(retry.content(), first.content());
        assert_eq!(app.communities().await, [first.body]);
    }

    async fn a_community_is_created_while_tags_cannot_be_kept_at_all(database: Database) {
        let setup = setup(database);
        let app = setup.start();
        let url = setup.database_url();
        execute(&url, "ALTER TABLE tags RENAME TO elsewhere").await;
        let first = create_with(&app, "k", json!(["rust", "databases"])).await;
        assert_eq!(first.body["tags"], json!([]));
        execute(&url, "ALTER TABLE elsewhere RENAME TO tags").await;
        assert!(create_with(&app, "k", json!(["rust", "databases"])).await.replayed());
        let second = create_with(&app, "other", json!(["rust"])).await;
        assert_eq!(app.communities().await, [second.body, first.body]);
        assert_eq!(counts(&url).await, [2, 2, 2, 1, 2]);
    }

    async fn of_many_tags_ten_are_looked_at(database: Database) {
        let app = setup(database).start();
        let tags: Vec<_> = (0..5000).map(|i| format!("tag {i}")).collect();
        let answer = create_with(&app, "k", json!(tags)).await;
        assert_eq!(answer.body["tags"], json!(tags[..10]));
        assert_eq!(create_with(&app, "null", Value::Null).await.body["tags"], json!([]));
    }

    async fn the_log_does_not_tell_the_tag_that_was_left_out(database: Database) {
        let setup = setup(database);
        let url = setup.database_url();
        let app = setup.start();
        create_with(&app, "secret-key", json!(["secret-tag ".repeat(9)])).await;
        app.has_logged("a tag was left out").await;
        let constraint = if is_sqlite(&url) { "CHECK constraint failed" } else { "check constraint" };
        assert!(!app.log().contains("secret"), "{}", app.log());
        assert!(app.log().contains(constraint), "{}", app.log());
    }
}
