//! The database goes away and comes back.

use std::time::{Duration, Instant};

use idem_testkit::PostgresServer;
use reqwest::StatusCode;

use crate::app::{Database, PATIENCE, Payments, setup};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_down_nothing_is_paid_and_service_resumes_without_a_restart() {
    let server = PostgresServer::start();
    let setup = setup(Database::Sqlite).variable("DATABASE_URL", server.fresh_database());
    let app = setup.start();
    let before = app.pay("before", "bob").await;
    assert_eq!(before.status, StatusCode::CREATED);

    server.stop();
    for key in ["before", "during"] {
        let start = Instant::now();
        let answer = app.pay(key, "bob").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        assert_eq!(answer.problem(), "store-unavailable");
        // The store timeout is 5 s; the rest is for a busy machine.
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    }

    server.restart();
    let start = Instant::now();
    let during = loop {
        let answer = app.pay("during", "bob").await;
        if answer.status != StatusCode::SERVICE_UNAVAILABLE {
            break answer;
        }
        assert!(start.elapsed() < PATIENCE, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!((during.status, during.replayed()), (StatusCode::CREATED, false));
    assert_eq!(app.pay("before", "bob").await.content(), before.content());
    assert_eq!(app.payments().await.len(), 2);
}
