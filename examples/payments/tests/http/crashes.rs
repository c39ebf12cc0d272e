//! kill -9, and what a retry finds afterwards.

use std::time::{Duration, Instant};

use idem_testkit::PostgresServer;
use reqwest::StatusCode;

use crate::{
    app::{Database, PATIENCE, Setup},
    on_each_database,
};

on_each_database! {
    async fn a_restart_forgets_nothing(database: Database) {
        let setup = Setup::new(database);
        let app = setup.start();
        let first = app.pay("k", "bob").await;
        app.kill();
        let app = setup.start();
        let retry = app.pay("k", "bob").await;
        assert!(retry.replayed);
        assert_eq!(first.content(), retry.content());
        assert_eq!(app.payments().await.len(), 1);
    }

    async fn an_execution_that_was_killed_is_refused_while_its_lease_lives_and_executed_after_it(
        database: Database
    ) {
        let setup = Setup::new(database).variable("LEASE", "9s");
        let setup = setup.variable("PROVIDER_DELAY_MS", "600000");
        let app = setup.start();
        app.start_paying("k", "bob").await.abort();
        app.kill();
        let app = setup.variable("PROVIDER_DELAY_MS", "0").start();
        let start = Instant::now();
        assert_eq!(app.pay("k", "bob").await.problem(), "in-flight");
        let answer = app.pay_until_answered("k", "bob").await;
        assert_eq!((answer.status, answer.replayed), (StatusCode::CREATED, false));
        assert!(start.elapsed() < PATIENCE.min(Duration::from_secs(20)), "a lease is 9 s");
        assert_eq!(app.payments().await, [answer.body]);
    }
}

/// The payment is kept, and the process dies before the record says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_was_kept_but_not_recorded_is_not_made_again() {
    let url = PostgresServer::shared().fresh_database();
    let database = sqlx::PgPool::connect(&url).await.unwrap();
    let setup = Setup::new(Database::Sqlite).variable("DATABASE_URL", url).variable("LEASE", "3s");
    let setup = setup.variable("PROVIDER_DELAY_MS", "3000");
    let app = setup.start();
    app.start_paying("k", "bob").await.abort();
    let mut lock = database.begin().await.unwrap();
    sqlx::query("LOCK TABLE idem IN EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let count =
        || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM payments").fetch_one(&database);
    let start = Instant::now();
    while count().await.unwrap() == 0 {
        assert!(start.elapsed() < PATIENCE, "the payment is not made");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    app.kill();
    lock.rollback().await.unwrap();
    let app = setup.variable("PROVIDER_DELAY_MS", "0").start();
    let answer = app.pay_until_answered("k", "bob").await;
    assert_eq!((answer.status, answer.replayed), (StatusCode::CREATED, false));
    assert_eq!(app.payments().await, [answer.body]);
}
