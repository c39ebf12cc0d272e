//! The same project, asked for several times, one after the other and at once, with and without a
//! cache.

use demo::on_each_database;
use futures_util::future::join_all;
use idem_testkit::RedisServer;

use crate::app::{Answer, App, Projects, one_project, setup};

/// Asks the servers in turn, some requests with a key and all others without, and asserts that there
/// is one project for each.
async fn create_once(servers: &[&App], times: usize) {
    let with_key = join_all((0..times).map(|i| servers[i % servers.len()].create("k", "Apollo")));
    let without =
        join_all((0..times).map(|i| Answer::to(servers[i % servers.len()].named("Apollo"))));
    let (with_key, without) = tokio::join!(with_key, without);
    for answers in [&with_key, &without] {
        one_project(answers);
        assert_eq!(answers.iter().filter(|it| !it.replayed()).count(), 1, "one was not a replay");
    }
    assert_ne!(with_key[0].body["id"], without[0].body["id"]);
    for server in servers {
        assert_eq!(server.projects().await.len(), 2);
        let later = server.create("k", "Apollo").await;
        assert!(later.replayed());
        assert_eq!(later.content(), with_key[0].content());
    }
}

on_each_database! {
    async fn one_after_the_other_they_are_one_project(database: Database) {
        let app = setup(database).variable("REDIS_URL", RedisServer::shared().url()).start();
        let mut answers = Vec::new();
        for _ in 0..5 {
            answers.push(app.create("k", "Apollo").await);
        }
        one_project(&answers);
        assert!(answers[1..].iter().all(Answer::replayed));
        assert_eq!(app.projects().await.len(), 1);
    }

    async fn a_hundred_at_once_are_one_project_without_a_cache(database: Database) {
        create_once(&[&setup(database).start()], 50).await;
    }

    async fn a_hundred_at_once_are_one_project_with_a_cache(database: Database) {
        let setup = setup(database).variable("REDIS_URL", RedisServer::shared().url());
        create_once(&[&setup.start()], 50).await;
    }

    async fn a_hundred_at_once_over_two_processes_are_one_project(database: Database) {
        let setup = setup(database).variable("REDIS_URL", RedisServer::shared().url());
        create_once(&[&setup.start(), &setup.start()], 50).await;
    }

    async fn a_hundred_at_once_over_two_processes_are_one_slow_project(database: Database) {
        let setup = setup(database).variable("REDIS_URL", RedisServer::shared().url());
        let setup = setup.variable("HANDLER_DELAY_MS", "500");
        create_once(&[&setup.start(), &setup.start()], 50).await;
    }

    async fn a_process_with_a_cache_and_one_without_do_not_disagree(database: Database) {
        let without = setup(database);
        let with = without.clone().variable("REDIS_URL", RedisServer::shared().url());
        create_once(&[&with.start(), &without.start()], 50).await;
    }

    async fn a_client_that_disconnects_finds_its_project_when_it_comes_back(database: Database) {
        let setup = setup(database).variable("REDIS_URL", RedisServer::shared().url());
        let app = setup.variable("HANDLER_DELAY_MS", "1000").start();
        let request = app.named("Apollo").header("Idempotency-Key", "k");
        app.start_request(request, crate::app::CREATES).await.abort();
        let retry = app.create("k", "Apollo").await;
        assert!(retry.replayed(), "{retry:?}");
        assert_eq!(app.projects().await, [retry.body]);
    }
}
