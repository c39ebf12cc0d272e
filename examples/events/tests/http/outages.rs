//! The database goes away and comes back.

use std::time::{Duration, Instant};

use idem_testkit::PostgresServer;

use crate::app::{
    Answer, Database, Enveloped, Events, FIRST, PATIENCE, REPLAY, confirmed, key, setup,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_down_nothing_happens_and_service_resumes_without_a_restart() {
    let server = PostgresServer::start();
    let setup = setup(Database::Sqlite).variable("DATABASE_URL", server.fresh_database());
    let app = setup.start();
    let keys = (key(), key());
    let before = confirmed(&keys.0, "before", 25);
    let during = confirmed(&keys.1, "during", 25);
    let first = before.sent(&app).await;
    assert_eq!(first.markers(), FIRST);

    server.stop();
    for plan in [&before, &during] {
        let start = Instant::now();
        let answer = Answer::to(plan.to(&app).header("Accept-Language", "ru")).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "STORE_UNAVAILABLE"));
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("content-language"), Some("ru"));
        // The store timeout is 5 s; the rest is for a busy machine.
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    }

    server.restart();
    let start = Instant::now();
    let created = loop {
        let answer = during.sent(&app).await;
        if answer.status != 503 {
            break answer;
        }
        assert!(start.elapsed() < PATIENCE, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(created.markers(), FIRST);
    let retry = before.sent(&app).await;
    assert_eq!((retry.content(), retry.markers()), (first.content(), REPLAY));
    assert_eq!((app.events().await.len(), app.credit("ann").await), (2, 990));
}
