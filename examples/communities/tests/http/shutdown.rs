//! SIGTERM.

use demo::on_each_database;
use reqwest::StatusCode;

use crate::app::{Communities, setup};

on_each_database! {
    async fn what_runs_is_finished_answered_and_recorded_before_the_process_exits_with_0(
        database: Database
    ) {
        let setup = setup(database).variable("HANDLER_DELAY_MS", "1500");
        let app = setup.start();
        app.start_creating("abandoned", "One").await.abort();
        let waiting = app.start_creating("waiting", "Other").await;
        app.terminate();
        assert_eq!(waiting.await.unwrap().status, StatusCode::CREATED);
        assert!(app.ended().await.success());
        let app = setup.start();
        for (key, name) in [("abandoned", "One"), ("waiting", "Other")] {
            assert!(app.create(key, name).await.replayed(), "{key}");
        }
        assert_eq!(app.slugs().await, ["one", "other"]);
    }
}
