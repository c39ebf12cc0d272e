//! kill -9, and what a retry finds afterwards.

use std::time::Duration;

use demo::on_each_database;
use idem_testkit::RedisServer;
use reqwest::StatusCode;

use crate::app::{CREATES, Projects, setup};

on_each_database! {
    async fn a_restart_forgets_nothing(database: Database) {
        let with_cache = setup(database).variable("REDIS_URL", RedisServer::shared().url());
        let app = with_cache.start();
        let first = app.create("k", "Apollo").await;
        app.kill();
        for setup in [with_cache.clone(), with_cache.clone().variable("REDIS_URL", "")] {
            let app = setup.start();
            let retry = app.create("k", "Apollo").await;
            assert!(retry.replayed());
            assert_eq!(retry.content(), first.content());
            assert_eq!(app.projects().await, std::slice::from_ref(&first.body));
            app.kill();
        }
    }

    async fn an_execution_that_was_killed_is_executed_by_a_retry(database: Database) {
        let setup = setup(database).variable("HANDLER_DELAY_MS", "600000");
        let setup = setup.variable("REDIS_URL", RedisServer::shared().url());
        let app = setup.start();
        let request = app.named("Apollo").header("Idempotency-Key", "k");
        app.start_request(request, CREATES).await.abort();
        app.kill();
        let app = setup.variable("HANDLER_DELAY_MS", "0").start();
        assert!(app.projects().await.is_empty());
        let retry = app.create("k", "Apollo").await;
        assert_eq!((retry.status, retry.replayed()), (StatusCode::CREATED, false));
        assert_eq!(app.projects().await, [retry.body]);
    }

    async fn killed_at_whatever_moment_a_project_is_created_once(database: Database) {
        let setup = setup(database).variable("REDIS_URL", RedisServer::shared().url());
        let mut created = Vec::new();
        for i in 0..15_u32 {
            let (app, key) = (setup.start(), format!("form-{i}"));
            let create = app.create(&key, "Apollo");
            let killed = tokio::time::timeout(Duration::from_millis(2) * i, create).await;
            app.kill();
            let app = setup.start();
            let answer = app.create(&key, "Apollo").await;
            assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
            assert!(killed.is_err() || answer.replayed(), "it was acknowledged");
            created.insert(0, answer.body);
            assert_eq!(app.projects().await, created);
        }
    }
}
