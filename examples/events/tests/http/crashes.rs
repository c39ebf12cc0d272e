//! kill -9, and what a retry finds afterwards.

use std::time::Duration;

use demo::{
    on_each_database,
    testing::records::{accept_answers, end_sessions, refuse_answers},
};

use crate::{
    app::{Enveloped, Events, FIRST, REPLAY, confirmed, key, plan, setup},
    tables::states,
};

on_each_database! {
    async fn a_restart_forgets_nothing(database: Database) {
        let setup = setup(database);
        let app = setup.start();
        let key = key();
        let plan = confirmed(&key, "gala", 25);
        let first = plan.sent(&app).await;
        app.kill();
        let app = setup.start();
        let retry = plan.sent(&app).await;
        assert_eq!((retry.content(), retry.markers()), (first.content(), REPLAY));
        assert_eq!((app.events().await.len(), app.credit("ann").await), (1, 995));
    }

    async fn an_execution_that_was_killed_is_executed_by_a_retry(database: Database) {
        let setup = setup(database).variable("LEASE", "3s");
        let setup = setup.variable("HANDLER_DELAY_MS", "600000");
        let app = setup.start();
        let key = key();
        let plan = confirmed(&key, "gala", 25);
        plan.started(&app).await.abort();
        assert_eq!(states(&setup.database_url()).await, [1], "in flight");
        app.kill();
        let app = setup.variable("HANDLER_DELAY_MS", "0").start();
        assert_eq!((app.events().await.len(), app.credit("ann").await), (0, 1000));
        assert_eq!(plan.sent(&app).await.code(), "REQUEST_IN_PROGRESS", "its lease lives");
        let answer = plan.answered(&app).await;
        assert_eq!(answer.markers(), FIRST);
        assert_eq!(app.events().await, [answer.event().clone()]);
        assert_eq!(app.credit("ann").await, 995);
    }

    // The event is there and paid for, and the process dies before its answer is recorded. A retry
    // that does not confirm again is not asked again.
    async fn killed_before_its_answer_is_recorded_an_event_is_made_and_paid_for_once(
        database: Database
    ) {
        let setup = setup(database).variable("LEASE", "1s");
        let url = setup.database_url();
        let app = setup.start();
        refuse_answers(&url).await;
        let key = key();
        let first = confirmed(&key, "gala", 25).sent(&app).await;
        let event = first.event().clone();
        assert_eq!(states(&url).await, [1], "in flight");
        app.kill();
        end_sessions(&url).await;
        accept_answers(&url).await;
        let app = setup.start();
        let retry = plan(&key, "gala", 25).answered(&app).await;
        assert_eq!((retry.event(), retry.markers()), (&event, FIRST));
        assert_eq!(app.events().await, [event]);
        assert_eq!(app.credit("ann").await, 995);
    }

    async fn an_execution_that_was_taken_over_makes_and_takes_nothing_when_it_comes_back(
        database: Database
    ) {
        let setup = setup(database).variable("LEASE", "3s");
        let late = setup.clone().variable("HANDLER_DELAY_MS", "2500").start();
        let other = setup.start();
        let key = key();
        let plan = confirmed(&key, "gala", 25);
        let first = plan.started(&late).await;
        late.pause();
        let answer = plan.answered(&other).await;
        assert_eq!(answer.markers(), FIRST);
        late.resume();
        assert_eq!(first.await.unwrap().status, 409);
        let retry = plan.sent(&late).await;
        assert_eq!((retry.content(), retry.markers()), (answer.content(), REPLAY));
        assert_eq!(other.events().await, [answer.event().clone()]);
        assert_eq!(other.credit("ann").await, 995);
    }

    async fn killed_at_whatever_moment_an_event_is_made_and_paid_for_once(database: Database) {
        let setup = setup(database).variable("LEASE", "500ms");
        let mut made = Vec::new();
        for i in 0..20_u32 {
            let (app, key) = (setup.start(), key());
            let plan = confirmed(&key, "gala", 25);
            let killed = tokio::time::timeout(Duration::from_millis(2) * i, plan.sent(&app)).await;
            app.kill();
            let app = setup.start();
            let answer = plan.answered(&app).await;
            assert!(killed.is_err() || answer.markers() == REPLAY, "it was acknowledged");
            made.insert(0, answer.event().clone());
            assert_eq!(app.events().await, made);
            assert_eq!(app.credit("ann").await, 1000 - 5 * i64::from(i + 1));
        }
    }
}
