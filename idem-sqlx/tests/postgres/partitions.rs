//! Records in partitions.

use std::time::Duration;

use idem_core::{Claimed, Store, Written};
use idem_sqlx::{PostgresBuilder, PostgresStore, SetupError};
use idem_testkit::{Harness, PostgresServer};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::task::JoinSet;

use crate::{
    common::{LEASE, TTL, claim, id, is_won, response},
    database::Database,
};

const PARTITIONS: &str = include_str!("../../migrations/postgres-partitioned/1001_partitions.sql");

fn builder(url: &str) -> PostgresBuilder {
    PostgresStore::builder(url.parse().unwrap())
}

async fn done(store: &PostgresStore, key: &str) {
    let first = claim(key);
    assert!(is_won(&store.claim(&first).await.unwrap()));
    let written = store.complete(&first.owner, &response("paid"), TTL).await.unwrap();
    assert_eq!(written, Written::Accepted);
}

async fn is_done(store: &PostgresStore, key: &str) {
    let claimed = store.claim(&claim(key)).await.unwrap().claimed;
    assert_eq!(claimed, Claimed::Completed(response("paid")), "{key}");
}

#[tokio::test]
async fn records_are_spread_over_all_partitions() {
    let database = Database::partitioned().await;
    let store = database.store().await;
    for i in 0..200 {
        done(&store, &format!("{i}")).await;
    }
    let used = "SELECT count(DISTINCT tableoid) FROM idem";
    assert_eq!(database.number(used).await, 16);
    let largest = "SELECT max(count) FROM (SELECT count(*) FROM idem GROUP BY tableoid) AS it";
    assert!(database.number(largest).await < 50);
}

#[tokio::test]
async fn many_servers_make_partitions_at_once() {
    let url = PostgresServer::shared().fresh_database();
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let builder = builder(&url).schema("new").partitioned();
        tasks.spawn(async move {
            let store = builder.connect().await.unwrap();
            store.migrate().await.unwrap();
            store
        });
    }
    let stores = tasks.join_all().await;
    done(&stores[0], "k").await;
    is_done(&stores[1], "k").await;
    stores[2].migrate().await.unwrap();
}

#[tokio::test]
async fn the_other_layout_is_refused() {
    let partitioned = Database::partitioned().await;
    let plain_store = builder(&partitioned.url).connect().await.unwrap();
    let refused = plain_store.migrate().await;
    assert!(matches!(refused, Err(SetupError::IsPartitioned)), "{refused:?}");
    done(&plain_store, "k").await;

    let plain = Database::fresh().await;
    done(&plain.store().await, "k").await;
    let partitioned_store = builder(&plain.url).partitioned().connect().await.unwrap();
    let refused = partitioned_store.migrate().await;
    assert!(matches!(refused, Err(SetupError::NotPartitioned)), "{refused:?}");
    is_done(&partitioned_store, "k").await;
    assert_eq!(plain.number("SELECT count(*) FROM pg_partitioned_table").await, 0);
}

/// Claims come all the time. They wait for the table, or are refused, and lose nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn records_are_moved_under_load() {
    let database = Database::fresh().await;
    let store = builder(&database.url).partitioned().connect().await.unwrap();
    for i in 0..300 {
        done(&store, &format!("{i}")).await;
    }
    let running = claim("running");
    let won = store.claim(&running).await.unwrap();
    let Claimed::Won { fence, .. } = won.claimed else { panic!("{won:?}") };
    let mut load = JoinSet::new();
    for client in 0..8 {
        let store = database.store().await;
        load.spawn(async move {
            for i in 0..100 {
                done(&store, &format!("client {client}, {i}")).await;
                is_done(&store, &format!("{}", i * 3)).await;
            }
        });
    }
    store.partition().await.unwrap();
    load.join_all().await;

    assert_eq!(database.number("SELECT count(*) FROM pg_partitioned_table").await, 1);
    assert_eq!(database.number("SELECT count(*) FROM idem").await, 300 + 1 + 800);
    for i in 0..300 {
        is_done(&store, &format!("{i}")).await;
    }
    assert_eq!(store.renew(&running.owner, LEASE).await.unwrap(), Written::Accepted);
    let next = store.claim(&claim("next")).await.unwrap();
    assert!(matches!(next.claimed, Claimed::Won { fence: higher, .. } if higher > fence));
    store.partition().await.unwrap();
    store.migrate().await.unwrap();
    is_done(&store, "0").await;
}

#[tokio::test]
async fn a_move_that_fails_leaves_everything_as_it_was() {
    let database = Database::fresh().await;
    let store = database.store().await;
    done(&store, "k").await;
    database.execute("CREATE TABLE idem_p15 ()").await;
    let failed = store.partition().await;
    assert!(matches!(failed, Err(SetupError::Migrate(_))), "{failed:?}");
    is_done(&store, "k").await;
    assert_eq!(database.number("SELECT count(*) FROM pg_partitioned_table").await, 0);
    store.migrate().await.unwrap();
}

#[tokio::test]
async fn the_file_can_be_run_by_hand() {
    let url = PostgresServer::shared().fresh_database();
    let plain = include_str!("../../migrations/postgres/0001_records.sql");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(plain).execute(&mut connection).await.unwrap();
    let store = builder(&url).partitioned().connect().await.unwrap();
    done(&store, "k").await;
    let mut transaction = connection.begin().await.unwrap();
    sqlx::raw_sql(PARTITIONS).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    is_done(&store, "k").await;
    done(&store, "another").await;
}

#[tokio::test]
async fn tables_of_other_names_have_partitions_of_their_own() {
    let database = Database::partitioned().await;
    done(&database.store().await, "k").await;
    for builder in [
        builder(&database.url).table("t".repeat(48)),
        builder(&database.url).schema("App").table("other"),
    ] {
        let store = builder.partitioned().connect().await.unwrap();
        store.migrate().await.unwrap();
        done(&store, "k").await;
    }
    assert_eq!(database.number("SELECT count(*) FROM pg_partitioned_table").await, 3);
}

#[tokio::test]
async fn a_sweep_takes_what_expired_first_from_all_partitions() {
    let database = Database::partitioned().await;
    let store = database.store().await;
    for i in 0..100 {
        done(&store, &format!("old {i}")).await;
    }
    database.elapse(TTL).await;
    for i in 0..50 {
        done(&store, &format!("less old {i}")).await;
    }
    database.elapse(TTL + Duration::from_mins(1)).await;
    done(&store, "new").await;
    assert_eq!(store.sweep(100).await.unwrap(), 100);
    let pool = PgPool::connect(&database.url).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM idem WHERE key LIKE 'less old %'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(left, 50);
    assert_eq!(store.sweep(100).await.unwrap(), 50);
    assert!(store.get(&id("new")).await.unwrap().is_some());
}
