//! The process ends, unwinding nothing, exactly between two steps of an execution.

use std::os::unix::process::ExitStatusExt;

use demo::{on_each_database, testing::Setup};
use idem_testkit::crash;
use reqwest::StatusCode;

use crate::{
    app::{App, Payments, setup},
    tables::provider_ledger,
};

/// Runs the example until it ends itself at the point, under a request that gets no answer.
async fn crash_at(setup: &Setup, point: &str, path: &str) {
    let (variable, value) = crash::environment(point);
    let app = setup.clone().variable(variable, value).start();
    let unanswered = app.order(path, "k", "bob").send().await;
    assert!(unanswered.is_err(), "{point}: {unanswered:?}");
    let aborted = 6;
    assert_eq!(app.ended().await.signal(), Some(aborted), "{point}");
}

async fn has_paid(app: &App, times: i64) {
    assert_eq!(app.payments().await.len(), usize::try_from(times).unwrap());
    assert_eq!(app.balance("ann").await, -1250 * times);
    assert_eq!(app.balance("bob").await, 1250 * times);
}

on_each_database! {
    async fn a_payment_is_made_once_wherever_its_process_ends(database: Database) {
        let own = "payments::after-first-write";
        for point in crash::POINTS.into_iter().chain([own]) {
            let setup = setup(database);
            crash_at(&setup, point, "/payments").await;
            let is_committed = point == "idem::after-commit";
            let app = setup.start();
            has_paid(&app, i64::from(is_committed)).await;
            // No lease is left behind that a retry would have to wait for, only the session of the
            // dead process, until the server notices.
            let retry = app.pay_until_answered("k", "bob").await;
            assert_eq!(retry.status, StatusCode::CREATED, "{point}");
            assert_eq!(retry.replayed(), is_committed, "{point}");
            has_paid(&app, 1).await;
            let replay = app.pay("k", "bob").await;
            assert!(replay.replayed(), "{point}");
            assert_eq!(replay.content(), retry.content(), "{point}");
            assert_eq!(app.payments().await, [replay.body], "{point}");
        }
    }

    async fn a_payout_is_made_once_or_held_wherever_its_process_ends(database: Database) {
        let leased = crash::POINTS.into_iter().filter(|it| *it != "idem::after-commit");
        for point in leased {
            let setup = setup(database).variable("LEASE", "500ms");
            crash_at(&setup, point, "/payouts").await;
            let app = setup.start();
            let retry = app.pay_out_until_answered("k", "bob").await;
            match point {
                "idem::before-claim" => assert!(!retry.replayed() && retry.status.is_success()),
                "idem::after-record" => assert!(retry.replayed() && retry.status.is_success()),
                _ => assert_eq!(retry.problem(), "outcome-unknown", "{point}"),
            }
            let calls = provider_ledger(&setup.database_url()).await;
            let expected: &[i64] = if point == "idem::after-claim" { &[] } else { &[1] };
            assert_eq!(calls.iter().map(|it| it.calls).collect::<Vec<_>>(), expected, "{point}");
        }
    }
}
