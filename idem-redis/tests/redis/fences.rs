//! Fences, whatever the clock does.

use idem_core::{Claimed, Store};
use idem_redis::RedisStore;

use crate::{
    database::Database,
    requests::{claim, id},
};

async fn fence(store: &RedisStore, key: &str) -> i64 {
    let claim = claim(key);
    let Claimed::Won { fence, .. } = store.claim(&claim).await.unwrap().claimed else {
        panic!("not won")
    };
    let _ = store.fail(&claim.owner, crate::requests::TTL).await.unwrap();
    fence.get()
}

async fn delete(database: &Database, key: &str) {
    let _: u64 = database.command(&["DEL", key]).await;
}

#[tokio::test]
async fn a_fence_is_the_time_and_the_shard() {
    let database = Database::on_server();
    let fence = fence(&database.store().await, "k").await;
    let time: (i64, i64) = database.command(&["TIME"]).await;
    let age = time.0 * 1_000_000 + time.1 - fence / 1_000;
    assert!((0..60_000_000).contains(&age), "{age}");
    assert_eq!(fence % 1_000, i64::from(id("k").digest()[0]));
}

/// To a server whose clock was set back, its own last fence is in the future.
#[tokio::test]
async fn a_fence_grows_when_the_clock_was_set_back_and_the_record_is_gone() {
    let database = Database::on_server();
    let store = database.store().await;
    let ahead = 4_000_000_000_000_000_i64;
    let fences = database.beside(&id("k"), "fence");
    let _: String = database.command(&["SET", &fences, &ahead.to_string()]).await;
    let first = fence(&store, "k").await;
    delete(&database, &database.key(&id("k"))).await;
    let second = fence(&store, "k").await;
    assert_eq!([first, second].map(|it| it / 1_000 - ahead), [1, 2]);
}

#[tokio::test]
async fn a_fence_grows_when_its_shard_has_lost_the_last_one() {
    let database = Database::on_server();
    let store = database.store().await;
    let first = fence(&store, "k").await;
    delete(&database, &database.beside(&id("k"), "fence")).await;
    delete(&database, &database.key(&id("k"))).await;
    assert!(fence(&store, "k").await > first);

    let record = database.key(&id("k"));
    let ahead = 4_000_000_000_000_000_000_i64;
    let _: u64 = database.command(&["HSET", &record, "fence", &ahead.to_string()]).await;
    delete(&database, &database.beside(&id("k"), "fence")).await;
    assert!(fence(&store, "k").await > ahead);
}

#[tokio::test]
async fn a_fence_that_no_number_can_follow_is_refused() {
    let database = Database::on_server();
    let fences = database.beside(&id("k"), "fence");
    let _: String = database.command(&["SET", &fences, "9999999999999999"]).await;
    let claimed = database.store().await.claim(&claim("k")).await;
    assert!(matches!(claimed, Err(idem_core::StoreError::Damaged(_))), "{claimed:?}");
}
