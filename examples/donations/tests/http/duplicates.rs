//! Requests that come twice, or two hundred times.

use reqwest::StatusCode;

use crate::app::{App, Donations, code, setup};

/// Sends duplicates to the servers in turn, and asserts that they made one donation.
async fn give_once(servers: &[&App], duplicates: usize) {
    let calls = (0..duplicates).map(|i| servers[i % servers.len()].give("k"));
    let answers = futures_util::future::join_all(calls).await;
    let done: Vec<_> = answers.iter().filter(|it| it.status == StatusCode::CREATED).collect();
    for server in servers {
        let retry = server.give_until_answered("k").await;
        assert!(retry.replayed(), "{retry:?}");
        assert!(done.iter().all(|it| it.content() == retry.content()));
    }
    assert_eq!(done.iter().filter(|it| !it.replayed()).count(), 1);
    for refused in answers.iter().filter(|it| it.status != StatusCode::CREATED) {
        assert!(refused.is_in_flight(), "{refused:?}");
        assert_eq!(code(refused), "IN_FLIGHT");
    }
    assert_eq!(servers[0].donations().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_are_one_donation() {
    let app = setup().variable("HANDLER_DELAY_MS", "300").start();
    give_once(&[&app], 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_over_two_processes_on_one_file_are_one_donation() {
    let setup = setup().variable("HANDLER_DELAY_MS", "300");
    let (one, other) = (setup.start(), setup.start());
    give_once(&[&one, &other], 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_keys_at_once_are_a_hundred_donations() {
    let app = setup().start();
    let keys: Vec<_> = (0..100).map(|i| format!("gift-{i}")).collect();
    let answers = futures_util::future::join_all(keys.iter().map(|it| app.give(it))).await;
    for answer in answers {
        assert_eq!((answer.status, answer.replayed()), (StatusCode::CREATED, false), "{answer:?}");
    }
    assert_eq!(app.donations().await.len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_disconnects_finds_its_donation_when_it_comes_back() {
    let app = setup().variable("HANDLER_DELAY_MS", "1000").start();
    app.start_giving("k").await.abort();
    let retry = app.give_until_answered("k").await;
    assert!(retry.replayed(), "{retry:?}");
    assert_eq!(app.donations().await, [retry.body["data"].clone()]);
}
