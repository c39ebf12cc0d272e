//! The same chat, asked for several times, one after the other and at once.

use std::time::{Duration, Instant};

use demo::on_each_database;
use futures_util::future::join_all;
use reqwest::StatusCode;

use crate::app::{Answer, App, Chats, Database, one_chat, setup};

/// Asks the servers in turn for ann's chat with bob, in changing orders, and asserts that all get the
/// one chat that there is.
async fn open_once(servers: &[&App], times: usize) {
    let orders: [&[&str]; 4] =
        [&["ann", "bob"], &["bob", "ann"], &["ann", "bob", "ann"], &["bob", "bob", "ann"]];
    let open = |i: usize| servers[i % servers.len()].open(orders[i / servers.len() % 4]);
    let answers = join_all((0..times).map(open)).await;
    one_chat(&answers);
    assert_eq!(answers.iter().filter(|it| !it.replayed()).count(), 1, "one was not a replay");
    for server in servers {
        assert_eq!(server.chats().await, [answers[0].body.clone()]);
        let later = server.open(&["bob", "ann"]).await;
        assert!(later.replayed());
        assert_eq!(later.content(), answers[0].content());
    }
}

on_each_database! {
    async fn one_request_is_one_chat(database: Database) {
        open_once(&[&setup(database).start()], 1).await;
    }

    async fn one_after_the_other_they_are_one_chat(database: Database) {
        let app = setup(database).start();
        let mut answers = Vec::new();
        for _ in 0..5 {
            answers.push(app.open(&["ann", "bob"]).await);
        }
        one_chat(&answers);
        assert!(answers[1..].iter().all(Answer::replayed));
        assert_eq!(app.chats().await.len(), 1);
    }

    async fn five_at_once_are_one_chat(database: Database) {
        open_once(&[&setup(database).start()], 5).await;
    }

    async fn a_hundred_and_fifty_at_once_are_one_chat(database: Database) {
        open_once(&[&setup(database).start()], 150).await;
    }

    async fn a_hundred_and_fifty_at_once_wait_for_a_slow_one(database: Database) {
        open_once(&[&setup(database).variable("HANDLER_DELAY_MS", "1000").start()], 150).await;
    }

    async fn a_hundred_and_fifty_at_once_over_two_processes_are_one_chat(database: Database) {
        let setup = setup(database);
        open_once(&[&setup.start(), &setup.start()], 150).await;
    }

    async fn a_hundred_and_fifty_at_once_over_two_processes_wait_for_a_slow_one(database: Database) {
        let setup = setup(database).variable("HANDLER_DELAY_MS", "1000");
        open_once(&[&setup.start(), &setup.start()], 150).await;
    }

    async fn a_hundred_chats_at_once_do_not_wait_for_each_other(database: Database) {
        let app = setup(database).variable("HANDLER_DELAY_MS", "500").start();
        let people: Vec<_> = (0..100).map(|i| format!("user-{i}")).collect();
        let start = Instant::now();
        let answers = join_all(people.iter().map(async |it| app.open(&["ann", it]).await)).await;
        // One after the other they would take 50 seconds.
        assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
        assert!(answers.iter().all(|it| it.status == StatusCode::CREATED && !it.replayed()));
        assert_eq!(app.chats().await.len(), 100);
    }

    async fn a_client_that_disconnects_finds_its_chat_when_it_comes_back(database: Database) {
        let app = setup(database).variable("HANDLER_DELAY_MS", "1000").start();
        app.start_request(app.opening(&["ann", "bob"]), crate::app::OPENS).await.abort();
        let retry = app.open(&["ann", "bob"]).await;
        assert!(retry.replayed(), "{retry:?}");
        assert_eq!(app.chats().await, [retry.body]);
    }
}

/// On one database after the other: each takes a thousand sockets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_wait_although_there_are_five_connections() {
    for database in [Database::Sqlite, Database::Postgres] {
        let setup = setup(database).variable("MAX_CONNECTIONS", "5");
        let app = setup.variable("HANDLER_DELAY_MS", "2000").start();
        open_once(&[&app], 500).await;
    }
}
