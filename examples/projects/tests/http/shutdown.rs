//! SIGTERM.

use demo::on_each_database;
use idem_testkit::RedisServer;

use crate::app::{CREATES, Projects, setup};

on_each_database! {
    async fn what_runs_is_finished_and_answered_before_the_process_exits_with_0(database: Database) {
        for redis in ["", &RedisServer::shared().url(), "redis://127.0.0.1:1"] {
            let setup = setup(database).variable("HANDLER_DELAY_MS", "1000");
            let setup = setup.variable("REDIS_URL", redis);
            let app = setup.start();
            let request = app.named("Apollo").header("Idempotency-Key", "k");
            let running = app.start_request(request, CREATES).await;
            app.terminate();
            assert_eq!(running.await.unwrap().status, 201);
            assert!(app.ended().await.success());
            let app = setup.start();
            assert!(app.create("k", "Apollo").await.replayed());
            assert_eq!(app.projects().await.len(), 1);
        }
    }
}
