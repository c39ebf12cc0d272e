//! Records go by themselves.

use std::time::Duration;

use idem_core::{Claim, Recover, Store};
use tokio::time::sleep;

use crate::{
    database::Database,
    requests::{TTL, claim, id, is_won, response},
};

/// How long the server will keep a record, as it says; `None` for ever.
async fn kept_for(database: &Database, key: &str) -> Option<Duration> {
    let left: i64 = database.command(&["PTTL", &database.key(&id(key))]).await;
    assert_ne!(left, -2, "{key} is gone");
    u64::try_from(left).ok().map(Duration::from_millis)
}

fn is_about(left: Option<Duration>, expected: Duration) -> bool {
    left.is_some_and(|it| it <= expected && it + Duration::from_mins(1) > expected)
}

#[tokio::test]
async fn the_server_knows_when_each_record_ends() {
    let database = Database::on_server();
    let store = database.store().await;
    let first = Claim { lease: 2 * TTL, ..claim("k") };
    store.claim(&first).await.unwrap();
    assert!(is_about(kept_for(&database, "k").await, 2 * TTL));
    let _ = store.renew(&first.owner, 3 * TTL).await.unwrap();
    assert!(is_about(kept_for(&database, "k").await, 3 * TTL));
    let _ = store.complete(&first.owner, &response("paid"), TTL).await.unwrap();
    assert!(is_about(kept_for(&database, "k").await, TTL));

    let hold = Claim { recover: Recover::Hold, ..claim("hold") };
    store.claim(&hold).await.unwrap();
    assert_eq!(kept_for(&database, "hold").await, None);
    let _ = store.fail(&hold.owner, TTL).await.unwrap();
    assert!(is_about(kept_for(&database, "hold").await, TTL));

    let panicked = claim("panicked");
    store.claim(&panicked).await.unwrap();
    let _ = store.hold(&panicked.owner).await.unwrap();
    assert_eq!(kept_for(&database, "panicked").await, None);
}

#[tokio::test]
async fn an_expired_record_is_gone_without_a_sweep() {
    let database = Database::on_server();
    let store = database.store().await;
    let first = claim("k");
    store.claim(&first).await.unwrap();
    let soon = Duration::from_millis(50);
    let _ = store.complete(&first.owner, &response("paid"), soon).await.unwrap();
    sleep(soon + Duration::from_millis(10)).await;
    let there: u64 = database.command(&["EXISTS", &database.key(&id("k"))]).await;
    assert_eq!(there, 0);
    assert_eq!(store.sweep(10).await.unwrap(), 0);
    assert!(is_won(&store.claim(&claim("k")).await.unwrap()));
}

/// A record that was restored from a dump, or made persistent by hand, has lost its expiry.
#[tokio::test]
async fn a_record_that_the_server_forgot_to_delete_has_expired_all_the_same() {
    let database = Database::on_server();
    let store = database.store().await;
    let first = claim("k");
    store.claim(&first).await.unwrap();
    let soon = Duration::from_millis(200);
    let _ = store.complete(&first.owner, &response("paid"), soon).await.unwrap();
    let _: u64 = database.command(&["PERSIST", &database.key(&id("k"))]).await;
    sleep(soon + Duration::from_millis(10)).await;
    let there: u64 = database.command(&["EXISTS", &database.key(&id("k"))]).await;
    assert_eq!(there, 1);
    assert_eq!(store.get(&id("k")).await.unwrap(), None);
    assert!(is_won(&store.claim(&claim("k")).await.unwrap()));
}
