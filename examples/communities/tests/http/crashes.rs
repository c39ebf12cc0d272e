//! Failures in the middle, kill -9, and what a retry finds afterwards.

use std::time::Duration;

use demo::on_each_database;
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    app::{Answer, Communities, setup},
    tables::{accept_subscriptions, counts, refuse_subscriptions},
};

on_each_database! {
    async fn a_failure_in_the_middle_leaves_nothing(database: Database) {
        let setup = setup(database);
        let url = setup.database_url();
        let app = setup.start();
        refuse_subscriptions(&url).await;
        let without_key = app.form(&json!({ "name": "My Community", "tags": ["rust"] }));
        let without_key = Answer::to(without_key).await;
        assert_eq!(without_key.status, StatusCode::INTERNAL_SERVER_ERROR);
        for _ in 0..2 {
            let failed = app.create("k", "My Community").await;
            assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(failed.body, json!({ "error": "the database failed" }));
            assert_eq!(counts(&url).await, [0; 5]);
        }
        accept_subscriptions(&url).await;
        let retry = app.create("k", "My Community").await;
        assert_eq!((retry.status, retry.replayed()), (StatusCode::CREATED, false));
        assert_eq!(retry.body["slug"], "my-community");
        assert_eq!(counts(&url).await, [1, 1, 1, 0, 1]);
    }

    async fn a_restart_forgets_nothing(database: Database) {
        let setup = setup(database);
        let app = setup.start();
        let first = app.create("k", "My Community").await;
        app.kill();
        let app = setup.start();
        let retry = app.create("k", "My Community").await;
        assert!(retry.replayed());
        assert_eq!(retry.content(), first.content());
        assert_eq!(app.communities().await, [first.body]);
    }

    async fn an_execution_that_was_killed_is_executed_by_a_retry(database: Database) {
        let setup = setup(database).variable("HANDLER_DELAY_MS", "600000");
        let app = setup.start();
        app.start_creating("k", "My Community").await.abort();
        app.kill();
        let app = setup.variable("HANDLER_DELAY_MS", "0").start();
        assert!(app.communities().await.is_empty());
        let retry = app.create_until_answered("k", "My Community").await;
        assert_eq!((retry.status, retry.replayed()), (StatusCode::CREATED, false));
        assert_eq!(app.communities().await, [retry.body]);
    }

    async fn killed_at_whatever_moment_a_community_is_created_once(database: Database) {
        let setup = setup(database);
        let mut created = Vec::new();
        for i in 0..20_u32 {
            let (app, key) = (setup.start(), format!("form-{i}"));
            let create = app.create(&key, "My Community");
            let killed = tokio::time::timeout(Duration::from_millis(2) * i, create).await;
            app.kill();
            let app = setup.start();
            let answer = app.create_until_answered(&key, "My Community").await;
            assert_eq!(answer.status, StatusCode::CREATED);
            assert!(killed.is_err() || answer.replayed(), "it was acknowledged");
            created.insert(0, answer.body);
            assert_eq!(app.communities().await, created);
            let n = i64::from(i + 1);
            assert_eq!(counts(&setup.database_url()).await, [n, n, n, 0, n]);
        }
    }
}
