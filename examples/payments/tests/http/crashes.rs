//! kill -9, and what a retry finds afterwards.

use std::time::{Duration, Instant};

use demo::{on_each_database, testing::records};
use idem_testkit::PostgresServer;
use reqwest::StatusCode;

use crate::{
    app::{App, Database, PATIENCE, Payments, setup},
    tables,
};

/// Asserts that ann paid bob as often as she wanted to.
async fn has_paid(app: &App, times: usize) {
    assert_eq!(app.payments().await.len(), times);
    let amount = 1250 * i64::try_from(times).unwrap();
    assert_eq!((app.balance("ann").await, app.balance("bob").await), (-amount, amount));
}

on_each_database! {
    async fn a_restart_forgets_nothing(database: Database) {
        let setup = setup(database);
        let app = setup.start();
        let first = app.pay("k", "bob").await;
        app.kill();
        let app = setup.start();
        let retry = app.pay("k", "bob").await;
        assert!(retry.replayed());
        assert_eq!(first.content(), retry.content());
        has_paid(&app, 1).await;
    }

    async fn an_execution_that_was_killed_is_executed_by_a_retry(database: Database) {
        let setup = setup(database).variable("LEASE", "3s");
        let setup = setup.variable("PROVIDER_DELAY_MS", "600000");
        let app = setup.start();
        app.start_paying("k", "bob").await.abort();
        app.kill();
        let app = setup.variable("PROVIDER_DELAY_MS", "0").start();
        has_paid(&app, 0).await;
        let answer = app.pay_until_answered("k", "bob").await;
        assert_eq!((answer.status, answer.replayed()), (StatusCode::CREATED, false));
        assert_eq!(app.payments().await, [answer.body]);
        has_paid(&app, 1).await;
    }

    async fn killed_at_whatever_moment_a_payment_is_made_once(database: Database) {
        let setup = setup(database).variable("LEASE", "500ms");
        let mut made = Vec::new();
        for i in 0..20_u32 {
            let (app, key) = (setup.start(), format!("order-{i}"));
            let killed = tokio::time::timeout(Duration::from_millis(2) * i, app.pay(&key, "bob"));
            let killed = killed.await;
            app.kill();
            let app = setup.start();
            let answer = app.pay_until_answered(&key, "bob").await;
            assert_eq!(answer.status, StatusCode::CREATED);
            assert!(killed.is_err() || answer.replayed(), "it was acknowledged");
            made.insert(0, answer.body);
            assert_eq!(app.payments().await, made);
            has_paid(&app, made.len()).await;
        }
    }

    async fn a_payment_whose_answer_cannot_be_recorded_is_not_made(database: Database) {
        let setup = setup(database);
        let url = setup.database_url();
        let app = setup.start();
        records::refuse_answers(&url).await;
        let refused = app.pay("k", "bob").await;
        assert_eq!(refused.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(refused.problem(), "not-committed");
        has_paid(&app, 0).await;
        records::accept_answers(&url).await;
        let retry = app.pay("k", "bob").await;
        assert_eq!((retry.status, retry.replayed()), (StatusCode::CREATED, false));
        assert_eq!(app.payments().await, [retry.body]);
        has_paid(&app, 1).await;
    }
}

/// The money is moved, and the process dies while the record is being written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_its_answer_is_recorded_a_payment_is_made_once() {
    let url = PostgresServer::shared().fresh_database();
    let setup = setup(Database::Sqlite).variable("DATABASE_URL", &url).variable("LEASE", "3s");
    let app = setup.start();
    records::delay_answers(&url).await;
    app.start_paying("k", "bob").await.abort();
    let start = Instant::now();
    while tables::delayed_answers(&url).await == 0 {
        assert!(start.elapsed() < PATIENCE, "no answer is recorded");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    app.kill();
    records::end_sessions(&url).await;
    records::accept_answers(&url).await;
    let app = setup.start();
    let answer = app.pay_until_answered("k", "bob").await;
    assert_eq!((answer.status, answer.replayed()), (StatusCode::CREATED, false));
    assert_eq!(app.payments().await, [answer.body]);
    has_paid(&app, 1).await;
}
