//! Requests that come twice, or two hundred times.

use demo::on_each_database;
use futures_util::future::join_all;
use reqwest::StatusCode;

use crate::{
    app::{Answer, App, Communities, setup},
    tables::counts,
};

/// Sends duplicates to the servers in turn, and asserts that they created one community.
async fn create_once(servers: &[&App], duplicates: usize) {
    let send = |i: usize| servers[i % servers.len()].create("form-1", "My Community");
    let answers = join_all((0..duplicates).map(send)).await;
    for server in servers {
        let retry = server.create_until_answered("form-1", "My Community").await;
        assert!(retry.replayed());
        let done = answers.iter().filter(|it| it.status == StatusCode::CREATED);
        assert!(done.into_iter().all(|it| it.content() == retry.content()));
        assert_eq!(server.communities().await, [retry.body]);
    }
    let first = |it: &&Answer| it.status == StatusCode::CREATED && !it.replayed();
    assert_eq!(answers.iter().filter(first).count(), 1);
    assert!(answers.iter().all(|it| it.status == StatusCode::CREATED || it.is_in_flight()));
}

on_each_database! {
    async fn a_double_click_is_one_community(database: Database) {
        let setup = setup(database);
        let app = setup.start();
        create_once(&[&app], 2).await;
        assert_eq!(counts(&setup.database_url()).await, [1, 1, 1, 0, 1]);
    }

    async fn while_the_first_runs_the_second_is_told_to_ask_again(database: Database) {
        let app = setup(database).variable("HANDLER_DELAY_MS", "1500").start();
        let first = app.start_creating("form-1", "My Community").await;
        let second = app.create("form-1", "My Community").await;
        let retry = app.create_until_answered("form-1", "My Community").await;
        let first = first.await.unwrap();
        assert_eq!((first.status, first.replayed()), (StatusCode::CREATED, false));
        assert!(second.is_in_flight() || second.content() == first.content(), "{second:?}");
        assert!(retry.replayed());
        assert_eq!(retry.content(), first.content());
        assert_eq!(app.communities().await, [first.body]);
    }

    async fn two_hundred_clicks_at_once_are_one_community(database: Database) {
        let app = setup(database).variable("HANDLER_DELAY_MS", "300").start();
        create_once(&[&app], 200).await;
    }

    async fn two_hundred_clicks_at_once_over_two_processes_are_one_community(database: Database) {
        let setup = setup(database).variable("HANDLER_DELAY_MS", "300");
        let (one, other) = (setup.start(), setup.start());
        create_once(&[&one, &other], 200).await;
    }

    async fn a_network_retry_gets_the_original_answer_marked_as_a_replay(database: Database) {
        let app = setup(database).start();
        let first = app.create("form-1", "My Community").await;
        let retry = app.create("form-1", "My Community").await;
        assert_eq!((first.replayed(), retry.replayed()), (false, true));
        assert_eq!(retry.content(), first.content());
        assert_eq!(app.communities().await, [first.body]);
    }

    async fn a_client_that_disconnects_finds_its_community_when_it_comes_back(database: Database) {
        let app = setup(database).variable("HANDLER_DELAY_MS", "1000").start();
        app.start_creating("form-1", "My Community").await.abort();
        let retry = app.create_until_answered("form-1", "My Community").await;
        assert!(retry.replayed(), "{retry:?}");
        assert_eq!(app.communities().await, [retry.body]);
    }
}
