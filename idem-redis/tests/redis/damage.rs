//! Values that nobody of us wrote.

use idem_core::{Claim, Recover, State, Store, StoreError};
use idem_redis::RedisStore;

use crate::{
    database::Database,
    requests::{LEASE, TTL, claim, id, is_won, response},
};

async fn completed() -> (Database, RedisStore) {
    let database = Database::on_server();
    let store = database.store().await;
    let first = claim("k");
    store.claim(&first).await.unwrap();
    let _ = store.complete(&first.owner, &response("paid"), TTL).await.unwrap();
    (database, store)
}

/// Runs a command of which the second part is a key.
async fn run(database: &Database, key: &str, command: &str) {
    let mut parts: Vec<&str> = command.split(' ').collect();
    parts.insert(1, key);
    let _: redis::Value = database.command(&parts).await;
}

#[tokio::test]
async fn a_damaged_record_is_an_error_and_stays_as_it_is() {
    for command in [
        "HSET status 99",
        "HDEL status",
        "HSET headers x",
        "HDEL headers",
        "HSET state odd",
        "HDEL state",
        "HDEL attempt",
        "HDEL fingerprint",
        "HSET hold 2",
        "HSET fence odd",
        "HSET fence 12345678901234567890",
        "HSET number 1.5",
        "HDEL after",
        "HDEL created_at",
        "HSET lease_until nan",
        "HSET expires_at 1e3",
        "HDEL version",
        "HSET version odd",
    ] {
        let (database, store) = completed().await;
        let key = database.key(&id("k"));
        run(&database, &key, command).await;
        let before: Vec<(Vec<u8>, Vec<u8>)> = database.command(&["HGETALL", &key]).await;
        let claimed = store.claim(&claim("k")).await;
        assert!(matches!(claimed, Err(StoreError::Damaged(_))), "{command}: {claimed:?}");
        let read = store.get(&id("k")).await;
        assert!(matches!(read, Err(StoreError::Damaged(_))), "{command}: {read:?}");
        let after: Vec<(Vec<u8>, Vec<u8>)> = database.command(&["HGETALL", &key]).await;
        assert_eq!(after, before, "{command}");
    }
}

#[tokio::test]
async fn what_is_damaged_is_not_ended_nor_released() {
    let database = Database::on_server();
    let store = database.store().await;
    let first = claim("k");
    store.claim(&first).await.unwrap();
    run(&database, &database.key(&id("k")), "HSET lease_until odd").await;
    let owner = &first.owner;
    for written in [
        store.complete(owner, &response("paid"), TTL).await,
        store.fail(owner, TTL).await,
        store.hold(owner).await,
        store.renew(owner, LEASE).await,
        store.release(owner).await,
    ] {
        assert!(matches!(written, Err(StoreError::Damaged(_))), "{written:?}");
    }
}

#[tokio::test]
async fn a_foreign_value_under_our_key_is_refused_and_never_overwritten() {
    for command in ["SET theirs", "RPUSH theirs", "SADD theirs", "HSET theirs 1"] {
        let database = Database::on_server();
        let store = database.store().await;
        let key = database.key(&id("k"));
        run(&database, &key, command).await;
        let before: Vec<u8> = database.command(&["DUMP", &key]).await;
        let first = claim("k");
        for (operation, result) in [
            ("claim", store.claim(&first).await.map(|_| ())),
            ("complete", store.complete(&first.owner, &response("x"), TTL).await.map(|_| ())),
            ("renew", store.renew(&first.owner, LEASE).await.map(|_| ())),
            ("release", store.release(&first.owner).await.map(|_| ())),
            ("get", store.get(&first.owner.id).await.map(|_| ())),
        ] {
            assert!(
                matches!(result, Err(StoreError::Damaged(_))),
                "{command}, {operation}: {result:?}"
            );
        }
        assert_eq!(store.not_in_flight(&[id("k")]).await.unwrap(), [id("k")], "{command}");
        let after: Vec<u8> = database.command(&["DUMP", &key]).await;
        assert_eq!(after, before, "{command}");
    }
}

#[tokio::test]
async fn a_foreign_value_beside_a_record_is_refused_before_anything_is_written() {
    let hold = || Claim { recover: Recover::Hold, ..claim("k") };
    for (name, command) in
        [("fence", "RPUSH theirs"), ("fence", "SET theirs"), ("held", "SET theirs")]
    {
        let database = Database::on_server();
        let store = database.store().await;
        let key = database.beside(&id("k"), name);
        run(&database, &key, command).await;
        let before: Vec<u8> = database.command(&["DUMP", &key]).await;
        let claimed = store.claim(&hold()).await;
        assert!(matches!(claimed, Err(StoreError::Damaged(_))), "{name}, {command}: {claimed:?}");
        let record: u64 = database.command(&["EXISTS", &database.key(&id("k"))]).await;
        assert_eq!(record, 0, "{name}, {command}");
        let after: Vec<u8> = database.command(&["DUMP", &key]).await;
        assert_eq!(after, before, "{name}, {command}");
    }
}

#[tokio::test]
async fn a_damaged_held_record_is_an_error_to_list() {
    for command in ["HSET number odd", "HSET attempt odd", "HDEL scope", "HDEL version"] {
        let database = Database::on_server();
        let store = database.store().await;
        let first = claim("k");
        store.claim(&first).await.unwrap();
        let _ = store.hold(&first.owner).await.unwrap();
        assert_eq!(store.held(None, 10).await.unwrap().len(), 1);
        run(&database, &database.key(&id("k")), command).await;
        let listed = store.held(None, 10).await;
        assert!(matches!(listed, Err(StoreError::Damaged(_))), "{command}: {listed:?}");
    }
}

#[tokio::test]
async fn the_index_forgets_what_somebody_deleted() {
    let database = Database::on_server();
    let store = database.store().await;
    let index = database.beside(&id("k"), "held");
    let indexed = async || database.command::<u64>(&["ZCARD", &index]).await;
    let held = claim("k");
    store.claim(&held).await.unwrap();
    let _ = store.hold(&held.owner).await.unwrap();
    assert_eq!(indexed().await, 1);
    let _: u64 = database.command(&["DEL", &database.key(&id("k"))]).await;
    assert_eq!(store.held(None, 10).await.unwrap(), []);
    assert_eq!(indexed().await, 0);

    let held = claim("k");
    store.claim(&held).await.unwrap();
    let _ = store.hold(&held.owner).await.unwrap();
    let _: u64 = database.command(&["DEL", &database.key(&id("k"))]).await;
    store.claim(&claim("k")).await.unwrap();
    assert_eq!(store.held(None, 10).await.unwrap(), []);
    assert_eq!(indexed().await, 0);
    assert_eq!(store.get(&id("k")).await.unwrap().unwrap().state, State::InFlight);
}

#[tokio::test]
async fn the_index_has_only_what_can_come_to_be_held() {
    let database = Database::on_server();
    let store = database.store().await;
    let index = database.beside(&id("k"), "held");
    let indexed = async || database.command::<u64>(&["ZCARD", &index]).await;
    for ending in ["complete", "fail", "release"] {
        let first = Claim { recover: Recover::Hold, ..claim("k") };
        store.claim(&first).await.unwrap();
        assert_eq!(indexed().await, 1, "before {ending}");
        let owner = &first.owner;
        let _ = match ending {
            "complete" => store.complete(owner, &response("paid"), TTL).await.unwrap(),
            "fail" => store.fail(owner, TTL).await.unwrap(),
            _ => store.release(owner).await.unwrap(),
        };
        assert_eq!(indexed().await, 0, "after {ending}");
        let _: u64 = database.command(&["DEL", &database.key(&id("k"))]).await;
    }
    let first = claim("k");
    assert!(is_won(&store.claim(&first).await.unwrap()));
    assert_eq!(indexed().await, 0);
}
