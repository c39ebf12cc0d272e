//! Events that cost credit: the answer that is not final.

use demo::{on_each_database, testing::sql::execute};
use futures_util::future::join_all;
use serde_json::json;

use crate::app::{
    Answer, App, Enveloped, Events, FIRST, NEITHER, REPLAY, confirmed, key, plan, setup,
};

fn asks_for_confirmation(answer: &Answer, price: i64, credit: i64) {
    assert_eq!((answer.status.as_u16(), answer.code()), (402, "CONFIRMATION_REQUIRED"));
    assert_eq!(answer.body["error"]["details"], json!({ "price": price, "credit": credit }));
    assert_eq!(answer.markers(), NEITHER);
}

async fn nothing_happened(app: &App) {
    assert_eq!((app.events().await.len(), app.credit("ann").await), (0, 1000));
}

on_each_database! {
    async fn a_confirmed_request_executes_with_the_key_of_the_one_that_asked_back(database: Database) {
        let app = setup(database).start();
        let key = key();
        for _ in 0..2 {
            asks_for_confirmation(&plan(&key, "gala", 25).sent(&app).await, 5, 1000);
        }
        nothing_happened(&app).await;
        let first = confirmed(&key, "gala", 25).sent(&app).await;
        assert_eq!((&first.event()["price"], first.markers()), (&json!(5), FIRST));
        for retry in [plan(&key, "gala", 25), confirmed(&key, "gala", 25)] {
            let retry = retry.sent(&app).await;
            assert_eq!((retry.content(), retry.markers()), (first.content(), REPLAY));
        }
        assert_eq!(app.events().await, [first.event().clone()]);
        assert_eq!(app.credit("ann").await, 995);
    }

    async fn who_confirms_at_once_is_not_asked(database: Database) {
        let app = setup(database).start();
        let (paid, free) = (key(), key());
        assert_eq!(confirmed(&paid, "gala", 21).sent(&app).await.event()["price"], 1);
        assert_eq!(confirmed(&free, "tea", 20).sent(&app).await.event()["price"], 0);
        assert_eq!(app.credit("ann").await, 999);
        assert_eq!(app.credit("bob").await, 1000);
    }

    async fn five_confirmations_at_once_are_one_event_and_one_debit(database: Database) {
        let app = setup(database).variable("HANDLER_DELAY_MS", "300").start();
        let key = key();
        asks_for_confirmation(&plan(&key, "gala", 30).sent(&app).await, 10, 1000);
        let plan = confirmed(&key, "gala", 30);
        let answers = join_all((0..5).map(|_| plan.sent(&app))).await;
        let created: Vec<_> = answers.iter().filter(|it| it.status == 201).collect();
        assert_eq!(created.iter().filter(|it| it.markers() == FIRST).count(), 1);
        for answer in answers.iter().filter(|it| it.status != 201) {
            assert_eq!((answer.status.as_u16(), answer.code()), (409, "REQUEST_IN_PROGRESS"));
        }
        let event = plan.answered(&app).await.event().clone();
        assert!(created.iter().all(|it| *it.event() == event));
        assert_eq!(app.events().await, [event]);
        assert_eq!(app.credit("ann").await, 990);
    }

    async fn a_confirmation_of_something_else_is_refused(database: Database) {
        let app = setup(database).start();
        let key = key();
        asks_for_confirmation(&plan(&key, "gala", 25).sent(&app).await, 5, 1000);
        let other = confirmed(&key, "gala", 500).sent(&app).await;
        assert_eq!((other.status.as_u16(), other.code()), (422, "IDEMPOTENCY_KEY_REUSED"));
        nothing_happened(&app).await;
    }

    async fn without_enough_credit_nothing_happens_until_there_is_more(database: Database) {
        let setup = setup(database);
        let app = setup.start();
        let key = key();
        for _ in 0..2 {
            let answer = confirmed(&key, "congress", 1021).sent(&app).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (402, "INSUFFICIENT_CREDIT"));
            let details = json!({ "price": 1001, "credit": 1000 });
            assert_eq!((&answer.body["error"]["details"], answer.markers()), (&details, NEITHER));
        }
        nothing_happened(&app).await;
        execute(&setup.database_url(), "INSERT INTO accounts VALUES ('ann', 1003)").await;
        let created = confirmed(&key, "congress", 1021).sent(&app).await;
        assert_eq!((&created.event()["price"], created.markers()), (&json!(1001), FIRST));
        assert_eq!(app.credit("ann").await, 2);
    }

    async fn an_account_is_never_overdrawn(database: Database) {
        let app = setup(database).start();
        let keys: Vec<_> = (0..20).map(|_| key()).collect();
        let plans: Vec<_> = keys.iter().map(|it| confirmed(it, "gala", 120)).collect();
        let answers = join_all(plans.iter().map(|it| it.sent(&app))).await;
        let created = answers.iter().filter(|it| it.status == 201).count();
        assert_eq!((created, app.events().await.len(), app.credit("ann").await), (10, 10, 0));
        let refused = answers.iter().filter(|it| it.status != 201);
        assert!(refused.into_iter().all(|it| it.code() == "INSUFFICIENT_CREDIT"));
    }
}
