//! Opening, migrating, names.

use std::{error::Error, path::Path, time::Duration};

use idem_core::{Claimed, Store, StoreError, Written};
use idem_sqlx::{SetupError, SqliteStore};
use sqlx::{
    Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    common::{TTL, claim, is_won, response},
    file::File,
};

async fn works(store: &SqliteStore) {
    let first = claim("k");
    assert!(is_won(&store.claim(&first).await.unwrap()));
    let written = store.complete(&first.owner, &response("paid"), TTL).await.unwrap();
    assert_eq!(written, Written::Accepted);
    assert_eq!(
        store.claim(&claim("k")).await.unwrap().claimed,
        Claimed::Completed(response("paid"))
    );
}

#[tokio::test]
async fn records_are_there_when_the_file_is_opened_again() {
    let file = File::fresh().await;
    let store = file.store().await;
    works(&store).await;
    store.readers().close().await;
    store.writer().close().await;
    let claimed = file.store().await.claim(&claim("k")).await.unwrap().claimed;
    assert_eq!(claimed, Claimed::Completed(response("paid")));
}

#[tokio::test]
async fn every_commit_is_synchronous() {
    let file = File::fresh().await;
    let store = file.store().await;
    let synchronous: i64 = sqlx::query_scalar("SELECT synchronous FROM pragma_synchronous")
        .fetch_one(store.writer())
        .await
        .unwrap();
    assert_eq!(synchronous, 2);
    let mode: String =
        sqlx::query_scalar("PRAGMA journal_mode").fetch_one(store.readers()).await.unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn settings_of_the_application_cannot_weaken_the_store() {
    let file = File::fresh().await;
    let options = SqliteConnectOptions::new()
        .filename(file.path())
        .read_only(true)
        .immutable(true)
        .journal_mode(SqliteJournalMode::Delete)
        .synchronous(SqliteSynchronous::Off);
    let store = SqliteStore::builder(options).open().await.unwrap();
    works(&store).await;
    let synchronous: i64 = sqlx::query_scalar("SELECT synchronous FROM pragma_synchronous")
        .fetch_one(store.writer())
        .await
        .unwrap();
    assert_eq!(synchronous, 2);
}

#[tokio::test]
async fn opening_waits_for_another_process_that_writes_before_there_is_a_wal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("old.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    let sql = "CREATE TABLE payments (id INTEGER); BEGIN IMMEDIATE";
    sqlx::raw_sql(sql).execute(&mut other).await.unwrap();
    let opening = tokio::spawn(async move { SqliteStore::open(path).await });
    sleep(Duration::from_millis(300)).await;
    assert!(!opening.is_finished());
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    opening.await.unwrap().unwrap().migrate().await.unwrap();
}

#[tokio::test]
async fn readers_cannot_write() {
    let file = File::fresh().await;
    let store = file.store().await;
    assert!(sqlx::query("DELETE FROM idem").execute(store.readers()).await.is_err());
}

#[tokio::test]
async fn a_database_in_memory_is_refused_with_the_way_out() {
    let parsed = |url: &str| SqliteStore::builder(url.parse().unwrap());
    for builder in [
        SqliteStore::builder(SqliteConnectOptions::new()),
        SqliteStore::builder(SqliteConnectOptions::new().filename("")),
        SqliteStore::builder(SqliteConnectOptions::new().in_memory(true).filename("x")),
        parsed("sqlite::memory:"),
        parsed("sqlite://x?mode=memory"),
        parsed("sqlite:file::memory:"),
    ] {
        let error = builder.clone().open().await.expect_err("it is in memory");
        assert!(matches!(error, SetupError::InMemory), "{builder:?}: {error:?}");
        assert!(error.to_string().contains("MemoryStore"));
    }
}

/// Eight stores, opened and migrated at once.
async fn migrated_at_once(path: &Path) -> Vec<SqliteStore> {
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let path = path.to_owned();
        tasks.spawn(async move {
            let store = SqliteStore::open(path).await.unwrap();
            store.migrate().await.unwrap();
            store
        });
    }
    tasks.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn many_processes_open_and_migrate_a_new_file_at_once() {
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let stores = migrated_at_once(&directory.path().join("new.db")).await;
        works(&stores[0]).await;
        let claimed = stores[1].claim(&claim("k")).await.unwrap().claimed;
        assert_eq!(claimed, Claimed::Completed(response("paid")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn many_processes_bring_a_file_up_to_date_at_once() {
    for _ in 0..10 {
        let file = File::fresh().await;
        file.execute("DELETE FROM idem_migrations; DROP TABLE idem; DROP TABLE idem_fence").await;
        works(&migrated_at_once(&file.path()).await[0]).await;
    }
}

/// A process that starts again has nothing to wait for.
#[tokio::test]
async fn what_is_up_to_date_is_opened_and_migrated_while_another_process_writes() {
    let file = File::fresh().await;
    drop(file.store().await);
    let options = SqliteConnectOptions::new().filename(file.path());
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let busy_timeout = Duration::from_millis(50);
    let store = SqliteStore::builder(options).busy_timeout(busy_timeout).open().await.unwrap();
    store.migrate().await.unwrap();
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    works(&store).await;
}

#[tokio::test]
async fn migrating_again_keeps_the_records() {
    let file = File::fresh().await;
    let store = file.store().await;
    works(&store).await;
    store.migrate().await.unwrap();
    let claimed = store.claim(&claim("k")).await.unwrap().claimed;
    assert_eq!(claimed, Claimed::Completed(response("paid")));
}

#[tokio::test]
async fn tables_of_another_name_stand_beside_the_default_ones() {
    let file = File::fresh().await;
    works(&file.store().await).await;
    let options = SqliteConnectOptions::new().filename(file.path());
    let store = SqliteStore::builder(options).table("other").open().await.unwrap();
    store.migrate().await.unwrap();
    works(&store).await;
    let foreign = "SELECT count(*) FROM sqlite_schema
        WHERE name NOT LIKE '%idem%' AND name NOT LIKE '%other%'";
    assert_eq!(file.number(foreign).await, 0);
    assert_eq!(file.number("SELECT last FROM other_fence").await, 1);
}

#[tokio::test]
async fn the_files_can_be_run_by_hand() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("by hand.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let file = include_str!("../../migrations/sqlite/0001_records.sql");
    sqlx::raw_sql(file).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    works(&SqliteStore::open(path).await.unwrap()).await;
}

#[tokio::test]
async fn a_missing_table_is_told_by_the_source_of_the_error() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("new.db")).await.unwrap();
    let error = store.claim(&claim("k")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(error.source().unwrap().downcast_ref::<sqlx::Error>().is_some());
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new.db");
    let builder = || SqliteStore::builder(SqliteConnectOptions::new().filename(&path));
    let refused = builder().table("a\"b").open().await;
    assert!(matches!(refused, Err(SetupError::Name { .. })), "{refused:?}");
    let refused = builder().max_readers(0).open().await;
    assert!(matches!(refused, Err(SetupError::NoConnections)), "{refused:?}");
    let refused = builder().busy_timeout(Duration::ZERO).open().await;
    assert!(matches!(refused, Err(SetupError::Timeout(_))), "{refused:?}");
    assert!(!path.exists(), "nothing was created");
    let refused = SqliteStore::open(directory.path().join("missing/new.db")).await;
    assert!(matches!(refused, Err(SetupError::Connect(_))), "{refused:?}");
}
