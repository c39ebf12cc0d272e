//! Payouts: another system moves the money, so an execution that was cut off is held.

use demo::on_each_database;
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    app::{Payments, setup},
    tables::{execute, provider_ledger},
};

on_each_database! {
    async fn a_payout_is_created_listed_and_replayed(database: Database) {
        let setup = setup(database);
        let app = setup.start();
        let first = app.pay_out("order-1", "bob").await;
        assert_eq!(first.status, StatusCode::CREATED);
        let (id, reference) = (&first.body["id"], &first.body["provider_ref"]);
        assert!(reference.as_str().unwrap().starts_with("po_"));
        let expected = json!({
            "id": id, "amount": 1250, "currency": "EUR", "to": "bob", "provider_ref": reference
        });
        assert_eq!(first.body, expected);
        let retry = app.pay_out("order-1", "bob").await;
        assert!(retry.replayed() && !first.replayed());
        assert_eq!(first.content(), retry.content());
        let second = app.pay_out("order-2", "carol").await;
        assert_ne!(first.body["provider_ref"], second.body["provider_ref"]);
        assert_eq!(app.payouts().await, [second.body, first.body], "newest first");
        let ledger = provider_ledger(&setup.database_url()).await;
        assert_eq!(ledger.iter().map(|it| it.calls).collect::<Vec<_>>(), [1, 1]);
        assert!(app.payments().await.is_empty());
        assert_eq!(app.balance("ann").await, 0);
    }

    async fn a_payout_and_a_payment_do_not_share_keys(database: Database) {
        let app = setup(database).start();
        let (payout, payment) = (app.pay_out("k", "bob").await, app.pay("k", "bob").await);
        assert!(!payout.replayed() && !payment.replayed());
        assert_eq!(app.payouts().await, [payout.body]);
        assert_eq!(app.payments().await, [payment.body]);
    }

    async fn a_refusal_of_a_payout_is_final_and_an_outage_is_not(database: Database) {
        let setup = setup(database);
        let app = setup.start();
        for replayed in [false, true] {
            let answer = app.pay_out("declined", "declined").await;
            assert_eq!((answer.status, answer.replayed()), (StatusCode::PAYMENT_REQUIRED, replayed));
            let answer = app.pay_out("unavailable", "unavailable").await;
            assert_eq!((answer.status, answer.replayed()), (StatusCode::SERVICE_UNAVAILABLE, false));
            assert_eq!(answer.problem(), "", "it is the handler's own answer");
        }
        assert!(provider_ledger(&setup.database_url()).await.is_empty());
    }

    async fn a_panic_is_held(database: Database) {
        let app = setup(database).start();
        assert_eq!(app.pay_out("k", "panic").await.problem(), "handler-panicked");
        for _ in 0..2 {
            let answer = app.pay_out("k", "panic").await;
            assert_eq!(answer.status, StatusCode::CONFLICT);
            assert_eq!(answer.problem(), "outcome-unknown");
        }
    }

    async fn a_client_that_disconnects_finds_its_payout_when_it_comes_back(database: Database) {
        let setup = setup(database).variable("PROVIDER_DELAY_MS", "1000");
        let app = setup.start();
        app.start_paying_out("k", "bob").await.abort();
        let retry = app.pay_out_until_answered("k", "bob").await;
        assert!(retry.replayed(), "{retry:?}");
        assert_eq!(provider_ledger(&setup.database_url()).await[0].calls, 1);
        assert_eq!(app.payouts().await, [retry.body]);
    }

    async fn a_call_that_was_killed_is_held_until_somebody_decides(database: Database) {
        let setup = setup(database).variable("LEASE", "3s");
        let setup = setup.variable("PROVIDER_DELAY_MS", "600000");
        let url = setup.database_url();
        let app = setup.start();
        app.start_paying_out("k", "bob").await.abort();
        app.kill();
        let setup = setup.variable("PROVIDER_DELAY_MS", "0");
        let app = setup.start();
        assert_eq!(app.pay_out("k", "bob").await.problem(), "in-flight", "its lease lives");
        let held = app.pay_out_until_answered("k", "bob").await;
        assert_eq!((held.status, held.problem()), (StatusCode::CONFLICT, "outcome-unknown"));
        app.kill();
        let app = setup.start();
        assert_eq!(app.pay_out("k", "bob").await.problem(), "outcome-unknown");
        assert!(app.payouts().await.is_empty());
        let before = provider_ledger(&url).await;
        assert_eq!(before.len(), 1);
        assert_eq!(before[0].calls, 1, "nobody called the provider again");

        execute(&url, "DELETE FROM idem WHERE operation = 'POST /payouts'").await;
        let answer = app.pay_out("k", "bob").await;
        assert_eq!((answer.status, answer.replayed()), (StatusCode::CREATED, false));
        assert_eq!(answer.body["provider_ref"], before[0].reference.as_str(), "it was recognised");
        let after = provider_ledger(&url).await;
        assert_eq!((after.len(), &after[0].key, after[0].calls), (1, &before[0].key, 2));
        assert_eq!(app.payouts().await, [answer.body]);
    }
}
