//! A database from before there were keys.

use std::thread;

use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection, Executor};

use crate::{
    app::{Donations, setup},
    tables,
};

#[tokio::test]
async fn a_database_of_the_first_version_keeps_all_its_rows_those_made_twice_too() {
    let setup = setup();
    let url = setup.database_url();
    let mut old = tables::open(&url).await;
    sqlx::migrate!("migrations/sqlite").run_to(1, &mut old).await.unwrap();
    old.execute(
        "INSERT INTO donations (sender_id, receiver_id, amount_cents, memo) VALUES \
         (1, 2, 1250, 'thanks'), (1, 2, 1250, 'thanks'), (3, 4, 1, NULL)",
    )
    .await
    .unwrap();
    old.close().await.unwrap();

    let of_old = |id: &str, sender: i64, receiver: i64, amount: Value, memo: Value| json!({ "id": id, "senderId": sender, "receiverId": receiver, "amount": amount, "memo": memo });
    let mut expected = vec![
        of_old("3", 3, 4, json!(0.01), Value::Null),
        of_old("2", 1, 2, json!(12.5), json!("thanks")),
        of_old("1", 1, 2, json!(12.5), json!("thanks")),
    ];
    let app = setup.start();
    assert_eq!(app.donations().await, expected);

    let new = app.give("k").await;
    assert_eq!(new.status, StatusCode::CREATED, "{new:?}");
    assert!(app.give("k").await.replayed());
    expected.insert(0, new.body["data"].clone());
    assert_eq!(app.donations().await, expected);
    assert_eq!(tables::keys(&url).await[..3], [None, None, None]);

    app.kill();
    assert_eq!(setup.start().donations().await, expected, "there is nothing to migrate twice");
}

#[test]
fn many_processes_start_on_a_new_file_at_once() {
    for _ in 0..5 {
        let setup = setup();
        let start = || {
            thread::scope(|scope| {
                let started: Vec<_> = (0..6).map(|_| scope.spawn(|| setup.start())).collect();
                started.into_iter().map(|it| it.join().unwrap()).collect::<Vec<_>>()
            })
        };
        assert_eq!(start().len(), 6);
    }
}
