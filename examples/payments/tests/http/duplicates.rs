//! Requests that come twice, or two hundred times.

use demo::on_each_database;
use reqwest::StatusCode;

use crate::app::{App, Payments, setup};

/// Sends duplicates to the servers in turn, and asserts that they made one payment.
async fn pay_once(servers: &[&App], duplicates: usize) {
    let calls = (0..duplicates).map(|i| servers[i % servers.len()].pay("k", "bob"));
    let answers = futures_util::future::join_all(calls).await;
    for server in servers {
        let retry = server.pay_until_answered("k", "bob").await;
        assert!(retry.replayed());
        let done = answers.iter().filter(|it| it.status == StatusCode::CREATED);
        assert!(done.clone().count() >= 1);
        assert!(done.into_iter().all(|it| it.content() == retry.content()));
    }
    assert!(answers.iter().all(|it| it.status == StatusCode::CREATED || it.is_in_flight()));
    assert_eq!(
        answers.iter().filter(|it| it.status == StatusCode::CREATED && !it.replayed()).count(),
        1
    );
    assert_eq!(servers[0].payments().await.len(), 1);
    assert_eq!(servers[0].balance("bob").await, 1250);
}

on_each_database! {
    async fn two_hundred_at_once_are_one_payment(database: Database) {
        let app = setup(database).variable("PROVIDER_DELAY_MS", "200").start();
        pay_once(&[&app], 200).await;
    }

    async fn two_hundred_at_once_over_two_processes_are_one_payment(database: Database) {
        let setup = setup(database).variable("PROVIDER_DELAY_MS", "200");
        let (one, other) = (setup.start(), setup.start());
        pay_once(&[&one, &other], 200).await;
    }

    async fn two_hundred_keys_at_once_are_two_hundred_payments(database: Database) {
        let app = setup(database).start();
        let keys: Vec<_> = (0..200).map(|i| format!("order-{i}")).collect();
        let answers = futures_util::future::join_all(keys.iter().map(|it| app.pay(it, "bob"))).await;
        assert!(answers.iter().all(|it| it.status == StatusCode::CREATED && !it.replayed()));
        assert_eq!(app.payments().await.len(), 200);
        assert_eq!(app.balance("bob").await, 200 * 1250);
    }

    async fn a_client_that_disconnects_finds_its_payment_when_it_comes_back(database: Database) {
        let app = setup(database).variable("PROVIDER_DELAY_MS", "1000").start();
        app.start_paying("k", "bob").await.abort();
        let retry = app.pay_until_answered("k", "bob").await;
        assert!(retry.replayed(), "{retry:?}");
        assert_eq!(app.payments().await, [retry.body]);
    }
}
