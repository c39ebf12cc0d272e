//! Requests that come twice, or two hundred times.

use demo::on_each_database;
use futures_util::future::join_all;

use crate::app::{App, Enveloped, Events, FIRST, REPLAY, confirmed, key, plan, setup};

/// Sends duplicates to the servers in turn, and asserts that they made one event.
async fn create_once(servers: &[&App], duplicates: usize) {
    let key = key();
    let plan = confirmed(&key, "gala", 25);
    let sent = (0..duplicates).map(|i| plan.sent(servers[i % servers.len()]));
    let answers = join_all(sent).await;
    let (created, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == 201);
    assert_eq!(created.iter().filter(|it| it.markers() == FIRST).count(), 1);
    assert!(
        refused.iter().all(|it| (it.status.as_u16(), it.code()) == (409, "REQUEST_IN_PROGRESS"))
    );
    for server in servers {
        let retry = plan.answered(server).await;
        assert_eq!(retry.markers(), REPLAY);
        assert!(created.iter().all(|it| it.content() == retry.content()));
        assert_eq!(server.events().await, [retry.event().clone()]);
        assert_eq!(server.credit("ann").await, 995);
    }
}

on_each_database! {
    async fn of_two_at_once_one_creates_the_event_and_the_other_is_told_so(database: Database) {
        let app = setup(database).variable("HANDLER_DELAY_MS", "2000").start();
        let key = key();
        let plan = plan(&key, "party", 5);
        let first = plan.started(&app).await;
        let second = plan.sent(&app).await;
        assert_eq!((second.status.as_u16(), second.code()), (409, "REQUEST_IN_PROGRESS"));
        assert_eq!(second.header("retry-after"), Some("1"));
        let first = first.await.unwrap();
        assert_eq!(app.events().await, [first.event().clone()]);
    }

    async fn two_hundred_at_once_are_one_event(database: Database) {
        let app = setup(database).variable("HANDLER_DELAY_MS", "300").start();
        create_once(&[&app], 200).await;
    }

    async fn two_hundred_at_once_over_two_processes_are_one_event(database: Database) {
        let setup = setup(database).variable("HANDLER_DELAY_MS", "300");
        let (one, other) = (setup.start(), setup.start());
        create_once(&[&one, &other], 200).await;
    }

    async fn a_client_that_disconnects_finds_its_event_when_it_comes_back(database: Database) {
        let app = setup(database).variable("HANDLER_DELAY_MS", "1000").start();
        let key = key();
        let plan = confirmed(&key, "gala", 25);
        plan.started(&app).await.abort();
        let retry = plan.answered(&app).await;
        assert_eq!((retry.markers(), app.credit("ann").await), (REPLAY, 995));
        assert_eq!(app.events().await, [retry.event().clone()]);
    }
}
