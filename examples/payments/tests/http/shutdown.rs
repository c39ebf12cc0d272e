//! SIGTERM.

use crate::app::{Payments, setup};
use demo::on_each_database;

on_each_database! {
    async fn what_runs_is_finished_answered_and_recorded_before_the_process_exits_with_0(
        database: Database
    ) {
        let setup = setup(database).variable("PROVIDER_DELAY_MS", "1500");
        let app = setup.start();
        app.start_paying("abandoned", "bob").await.abort();
        let waiting = app.start_paying("waiting", "bob").await;
        app.terminate();
        assert_eq!(waiting.await.unwrap().status, 201);
        assert!(app.ended().await.success());
        let app = setup.start();
        for key in ["abandoned", "waiting"] {
            assert!(app.pay(key, "bob").await.replayed(), "{key}");
        }
        assert_eq!(app.payments().await.len(), 2);
    }
}
