//! SIGTERM.

use demo::on_each_database;

use crate::app::{Answer, Chats, OPENS, one_chat, setup};

on_each_database! {
    async fn what_runs_is_finished_and_answered_to_all_who_wait_before_the_process_exits_with_0(
        database: Database
    ) {
        let setup = setup(database).variable("HANDLER_DELAY_MS", "1500");
        let app = setup.start();
        let running = app.start_request(app.opening(&["ann", "bob"]), OPENS).await;
        app.start_request(app.opening(&["ann", "zoe"]), OPENS).await.abort();
        let waiting = tokio::spawn(Answer::to(app.opening(&["bob", "ann"])));
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        app.terminate();
        one_chat(&[running.await.unwrap(), waiting.await.unwrap()]);
        assert!(app.ended().await.success());
        let app = setup.start();
        assert!(app.open(&["ann", "zoe"]).await.replayed(), "its client had gone");
        assert_eq!(app.chats().await.len(), 2);
    }
}
