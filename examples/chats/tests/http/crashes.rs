//! Executions that fail or die, and who takes over.

use std::time::Duration;

use demo::{
    on_each_database,
    testing::{records, sql},
};
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::json;

use crate::app::{Answer, App, Chats, OPENS, one_chat, setup};

/// Ten at each server at once, for a chat of which the first attempt fails: nine and more wait.
async fn first_attempt_fails(servers: &[&App]) {
    let open = |i: usize| servers[i % servers.len()].open(&["ann", "unavailable"]);
    let answers = join_all((0..10 * servers.len()).map(open)).await;
    let (failed, opened): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|it| it.status == StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].problem(), "", "it is the handler's own answer");
    one_chat(&opened);
    assert_eq!(opened.iter().filter(|it| !it.replayed()).count(), 1);
    for server in servers {
        assert_eq!(server.chats().await, [opened[0].body.clone()]);
    }
}

on_each_database! {
    async fn when_an_execution_fails_one_of_those_who_wait_takes_over(database: Database) {
        first_attempt_fails(&[&setup(database).variable("HANDLER_DELAY_MS", "500").start()]).await;
    }

    async fn when_an_execution_fails_in_one_process_those_who_wait_in_another_take_over(
        database: Database
    ) {
        let setup = setup(database).variable("HANDLER_DELAY_MS", "500");
        first_attempt_fails(&[&setup.start(), &setup.start()]).await;
    }

    async fn when_a_process_is_killed_those_who_wait_in_another_one_take_over(database: Database) {
        let setup = setup(database);
        let killed = setup.clone().variable("HANDLER_DELAY_MS", "600000").start();
        killed.start_request(killed.opening(&["ann", "bob"]), OPENS).await.abort();
        let app = setup.start();
        let waiting = join_all((0..20).map(|_| app.open(&["bob", "ann"])));
        let kill = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            killed.kill();
        };
        let (answers, ()) = tokio::join!(waiting, kill);
        one_chat(&answers);
        assert_eq!(answers.iter().filter(|it| !it.replayed()).count(), 1, "one took over");
        assert_eq!(app.chats().await.len(), 1);
    }

    async fn after_a_kill_a_retry_waits_for_the_lease_and_succeeds(database: Database) {
        let setup = setup(database);
        let app = setup.clone().variable("HANDLER_DELAY_MS", "600000").start();
        app.start_request(app.opening(&["ann", "bob"]), OPENS).await.abort();
        app.kill();
        let app = setup.start();
        assert!(app.chats().await.is_empty());
        let retry = app.open(&["ann", "bob"]).await;
        assert_eq!((retry.status, retry.replayed()), (StatusCode::CREATED, false));
        assert_eq!(app.chats().await, [retry.body]);
    }

    async fn killed_before_its_answer_was_recorded_a_chat_is_found_by_the_retry(database: Database) {
        let setup = setup(database);
        let url = setup.database_url();
        let app = setup.start();
        records::refuse_answers(&url).await;
        let first = app.open(&["ann", "bob"]).await;
        assert_eq!(first.status, StatusCode::CREATED);
        app.kill();
        records::end_sessions(&url).await;
        records::accept_answers(&url).await;
        let app = setup.start();
        let retry = app.open(&["ann", "bob"]).await;
        assert!(!retry.replayed(), "it executed once more");
        assert_eq!(retry.content(), first.content());
        assert_eq!(app.chats().await, [first.body]);
    }

    async fn killed_before_its_answer_was_recorded_a_message_is_said_once(database: Database) {
        let setup = setup(database);
        let url = setup.database_url();
        let app = setup.start();
        let chat = app.open(&["ann", "bob"]).await.body["id"].as_str().unwrap().to_owned();
        let send = async |app: &App| {
            let request = app.post(&format!("/api/chats/{chat}/messages"), &json!({ "text": "hello" }));
            Answer::to(request.bearer_auth("ann").header("Idempotency-Key", "k")).await
        };
        records::refuse_answers(&url).await;
        let first = send(&app).await;
        assert_eq!(first.status, StatusCode::CREATED);
        app.kill();
        records::end_sessions(&url).await;
        records::accept_answers(&url).await;
        let app = setup.start();
        let retry = send(&app).await;
        assert!(!retry.replayed(), "it executed once more");
        assert_eq!(retry.content(), first.content());
        assert_eq!(app.texts(&chat).await, ["hello"]);
    }

    async fn a_record_that_is_gone_costs_an_execution_and_no_chat(database: Database) {
        let setup = setup(database);
        let app = setup.start();
        let first = app.open(&["ann", "bob"]).await;
        sql::execute(&setup.database_url(), "DELETE FROM idem").await;
        let again = join_all((0..20).map(|_| app.open(&["bob", "ann"]))).await;
        assert!(again.iter().any(|it| !it.replayed()), "it executed once more");
        assert_eq!(one_chat(&again), first.body["id"].as_str().unwrap());
        assert_eq!(app.chats().await, [first.body]);
    }

    async fn a_process_that_stood_still_while_another_one_took_over_makes_no_second_chat(
        database: Database
    ) {
        let setup = setup(database).variable("HANDLER_DELAY_MS", "1000");
        let (late, app) = (setup.start(), setup.start());
        let first = late.start_request(late.opening(&["ann", "bob"]), OPENS).await;
        late.pause();
        let other = app.open(&["bob", "ann"]).await;
        assert_eq!((other.status, other.replayed()), (StatusCode::CREATED, false), "it took over");
        late.resume();
        assert!(first.await.unwrap().is_in_flight(), "the answer is the other execution's");
        let retry = late.open(&["ann", "bob"]).await;
        assert!(retry.replayed());
        assert_eq!(retry.content(), other.content());
        assert_eq!(late.chats().await, [other.body]);
    }

    async fn killed_at_whatever_moment_there_is_one_chat(database: Database) {
        let setup = setup(database);
        let people: Vec<_> = (0..10).map(|i| format!("user-{i}")).collect();
        let mut acknowledged = Vec::new();
        for (it, moment) in people.iter().zip(0..) {
            let app = setup.start();
            let moment = Duration::from_millis(3) * moment;
            acknowledged.push(tokio::time::timeout(moment, app.open(&["ann", it])).await.ok());
            app.kill();
        }
        let app = setup.start();
        let retries: Vec<Answer> =
            join_all(people.iter().map(async |it| app.open(&[it, "ann"]).await)).await;
        for (retry, acknowledged) in retries.iter().zip(acknowledged) {
            assert_eq!(retry.status, StatusCode::CREATED, "{retry:?}");
            assert!(acknowledged.is_none_or(|it| it.content() == retry.content()));
        }
        assert_eq!(app.chats().await.len(), people.len());
    }

    async fn a_restart_forgets_nothing(database: Database) {
        let setup = setup(database);
        let app = setup.start();
        let first = app.open(&["ann", "bob"]).await;
        app.kill();
        let app = setup.start();
        let retry = app.open(&["ann", "bob"]).await;
        assert!(retry.replayed());
        assert_eq!(first.content(), retry.content());
    }
}
