//! What becomes of a record: in flight → failed → in flight → completed.

use demo::{on_each_database, testing::sql::execute};
use serde_json::json;

use crate::{
    app::{Enveloped, Events, FIRST, NEITHER, REPLAY, confirmed, key, plan, setup},
    tables::{Seen, seen, watch_records},
};

const DAY: i64 = 24 * 60 * 60;

/// Asserts what the record went through, as states and numbers of executions; that a failed one is
/// kept for a day, and a completed one for seven.
fn went_through(seen: &[Seen], expected: &[(i64, i64)]) {
    let passed: Vec<_> = seen.iter().map(|it| (it.state, it.number)).collect();
    assert_eq!(passed, expected, "{seen:?}");
    for it in seen {
        let days = match it.state {
            2 => 7,
            3 => 1,
            _ => continue,
        };
        assert!((it.seconds - days * DAY).abs() <= 60, "{it:?}");
    }
}

on_each_database! {
    async fn a_failed_request_is_executed_by_a_retry_with_the_same_key(database: Database) {
        let setup = setup(database);
        let app = setup.start();
        let url = setup.database_url();
        watch_records(&url).await;
        let key = key();
        let plan = plan(&key, "fail once", 5);
        let failed = plan.sent(&app).await;
        assert_eq!((failed.status.as_u16(), failed.code()), (503, "SERVICE_UNAVAILABLE"));
        assert_eq!((failed.header("retry-after"), failed.markers()), (Some("1"), NEITHER));
        went_through(&seen(&url).await, &[(1, 1), (3, 1)]);
        assert!(app.events().await.is_empty());
        let retry = plan.sent(&app).await;
        assert_eq!((retry.event()["title"].as_str(), retry.markers()), (Some("fail once"), FIRST));
        let all = [(1, 1), (3, 1), (1, 2), (2, 2)];
        went_through(&seen(&url).await, &all);
        assert_eq!(plan.sent(&app).await.markers(), REPLAY);
        went_through(&seen(&url).await, &all);
        assert_eq!(app.events().await.len(), 1);
    }

    async fn a_question_back_leaves_a_failed_record_that_the_confirmation_completes(
        database: Database
    ) {
        let setup = setup(database);
        let app = setup.start();
        let url = setup.database_url();
        watch_records(&url).await;
        let key = key();
        assert_eq!(plan(&key, "gala", 25).sent(&app).await.status, 402);
        went_through(&seen(&url).await, &[(1, 1), (3, 1)]);
        assert_eq!(confirmed(&key, "gala", 25).sent(&app).await.markers(), FIRST);
        went_through(&seen(&url).await, &[(1, 1), (3, 1), (1, 2), (2, 2)]);
    }

    async fn a_key_whose_record_has_gone_still_makes_no_second_event(database: Database) {
        let setup = setup(database);
        let app = setup.start();
        let key = key();
        let first = confirmed(&key, "gala", 25).sent(&app).await;
        let forget = "DELETE FROM idem";
        execute(&setup.database_url(), forget).await;
        let retry = plan(&key, "gala", 25).sent(&app).await;
        assert_eq!((retry.content(), retry.markers()), (first.content(), FIRST));
        execute(&setup.database_url(), forget).await;
        let other = plan(&key, "another gala", 25).sent(&app).await;
        assert_eq!((other.status.as_u16(), other.code()), (422, "IDEMPOTENCY_KEY_REUSED"));
        assert_eq!(app.events().await, [first.event().clone()]);
        assert_eq!(app.credit("ann").await, 995);
    }

    async fn an_outage_may_be_retried_and_a_refusal_is_final(database: Database) {
        let app = setup(database).start();
        let (down, refused, panicking) = (key(), key(), key());
        for markers in [FIRST, REPLAY] {
            let answer = plan(&down, "unavailable", 5).sent(&app).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (503, "SERVICE_UNAVAILABLE"));
            assert_eq!(answer.markers(), NEITHER);
            let answer = plan(&panicking, "panic", 5).sent(&app).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (500, "HANDLER_PANICKED"));
            assert_eq!(answer.markers(), NEITHER);
            let answer = plan(&refused, "refused", 5).sent(&app).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (403, "EVENT_REFUSED"));
            assert_eq!((answer.markers(), &answer.body["data"]), (markers, &json!(null)));
        }
        assert!(app.events().await.is_empty());
    }
}
