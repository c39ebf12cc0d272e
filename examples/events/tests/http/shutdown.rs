//! SIGTERM.

use demo::on_each_database;

use crate::app::{Enveloped, Events, FIRST, REPLAY, key, plan, setup};

on_each_database! {
    async fn what_runs_is_finished_answered_and_recorded_before_the_process_exits_with_0(
        database: Database
    ) {
        let setup = setup(database).variable("HANDLER_DELAY_MS", "1500");
        let app = setup.start();
        let keys = (key(), key());
        let (abandoned, waiting) = (plan(&keys.0, "one", 5), plan(&keys.1, "other", 5));
        abandoned.started(&app).await.abort();
        let answer = waiting.started(&app).await;
        app.terminate();
        assert_eq!(answer.await.unwrap().markers(), FIRST);
        assert!(app.ended().await.success());
        let app = setup.start();
        for plan in [abandoned, waiting] {
            assert_eq!(plan.sent(&app).await.markers(), REPLAY);
        }
        assert_eq!(app.events().await.len(), 2);
    }
}
