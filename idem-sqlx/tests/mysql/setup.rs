//! Connecting, migrating, names.

use std::{error::Error, time::Duration};

use idem_core::{Claimed, Store, Written};
use idem_sqlx::{MySqlStore, SetupError};
use idem_testkit::MariaDbServer;
use sqlx::{Connection, MySqlConnection, mysql::MySqlConnectOptions};
use tokio::task::JoinSet;

use crate::{
    common::{TTL, claim, is_won, response},
    database::Database,
};

async fn works(store: &MySqlStore) {
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
async fn many_servers_migrate_at_once() {
    let url = MariaDbServer::shared().fresh_database();
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let url = url.clone();
        tasks.spawn(async move {
            let store = MySqlStore::connect(&url).await.unwrap();
            store.migrate().await.unwrap();
            store
        });
    }
    let stores = tasks.join_all().await;
    works(&stores[0]).await;
    let claimed = stores[1].claim(&claim("k")).await.unwrap().claimed;
    assert_eq!(claimed, Claimed::Completed(response("paid")));
}

#[tokio::test]
async fn migrating_again_keeps_the_records() {
    let database = Database::fresh().await;
    let store = database.store().await;
    works(&store).await;
    store.migrate().await.unwrap();
    let claimed = store.claim(&claim("k")).await.unwrap().claimed;
    assert_eq!(claimed, Claimed::Completed(response("paid")));
}

/// Tables are made without a transaction, so one that was cut off leaves half of them.
#[tokio::test]
async fn a_migration_that_was_cut_off_is_followed_by_another() {
    let database = Database::fresh().await;
    let store = database.store().await;
    database.execute("UPDATE idem_migrations SET success = false; DROP SEQUENCE idem_fence").await;
    store.migrate().await.unwrap();
    works(&store).await;
    assert_eq!(database.number("SELECT count(*) FROM idem_migrations WHERE success").await, 1);
}

#[tokio::test]
async fn tables_of_other_names_stand_beside_the_default_ones() {
    let database = Database::fresh().await;
    works(&database.store().await).await;
    for table in ["Payments_idem", &"t".repeat(48)] {
        let builder = MySqlStore::builder(database.url.parse().unwrap()).table(table);
        let store = builder.connect().await.unwrap();
        store.migrate().await.unwrap();
        works(&store).await;
    }
    let tables = "SELECT CAST(GROUP_CONCAT(table_name SEPARATOR ' ') AS char)
        FROM information_schema.tables WHERE table_schema = DATABASE()";
    let tables: String = sqlx::query_scalar(tables).fetch_one(&database.outside).await.unwrap();
    assert!(!tables.contains("_sqlx_migrations"), "{tables}");
    for table in [
        "idem",
        "idem_fence",
        "idem_migrations",
        "Payments_idem",
        "Payments_idem_fence",
        "Payments_idem_migrations",
    ] {
        assert!(tables.split(' ').any(|it| it == table), "{table} in {tables}");
    }
}

#[tokio::test]
async fn the_files_can_be_run_by_hand_and_again() {
    let url = MariaDbServer::shared().fresh_database();
    let mut connection = MySqlConnection::connect(&url).await.unwrap();
    let file = include_str!("../../migrations/mysql/0001_records.sql");
    for _ in 0..2 {
        sqlx::raw_sql(file).execute(&mut connection).await.unwrap();
    }
    works(&MySqlStore::connect(&url).await.unwrap()).await;
}

/// A server of which this is so, and the error that says it.
async fn refused_by(options: &[&str]) -> SetupError {
    let server = MariaDbServer::start_with(options);
    MySqlStore::connect(&server.fresh_database()).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_the_store_does_not_work_on_are_refused() {
    let error = refused_by(&["--version=8.0.36"]).await;
    assert!(matches!(&error, SetupError::NotMariaDb { version } if version.starts_with("8.0.36")));
    assert!(error.to_string().contains("MariaDB 10.6 or later"), "{error}");
    let error = refused_by(&["--version=10.5.9-MariaDB"]).await;
    assert!(matches!(error, SetupError::TooOld { .. }), "{error}");
    let error = refused_by(&["--max-allowed-packet=512K"]).await;
    assert!(matches!(error, SetupError::SmallPackets { bytes: 524_288, .. }), "{error}");
    let error = refused_by(&["--log-bin", "--server-id=1", "--binlog-format=STATEMENT"]).await;
    assert!(matches!(error, SetupError::StatementReplication), "{error}");
    let error = refused_by(&["--read-only"]).await;
    assert!(matches!(error, SetupError::ReadOnly), "{error}");
}

/// As the server that wrote before a failover does.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_to_only_read_lets_nothing_run_until_it_writes_again() {
    let server = MariaDbServer::start_with(&[]);
    let url = server.fresh_database();
    let store = MySqlStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let mut admin = MySqlConnection::connect(&url).await.unwrap();
    // Whoever administers may write all the same.
    for sql in [
        "CREATE USER app@'127.0.0.1'",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON *.* TO app@'127.0.0.1'",
    ] {
        sqlx::raw_sql(sql).execute(&mut admin).await.unwrap();
    }
    let mut app: MySqlConnectOptions = url.parse().unwrap();
    app = app.username("app");
    let store = MySqlStore::builder(app).connect().await.unwrap();
    let first = claim("k");
    assert!(is_won(&store.claim(&first).await.unwrap()));
    sqlx::raw_sql("SET GLOBAL read_only = 1").execute(&mut admin).await.unwrap();
    let refused = store.claim(&claim("other")).await.unwrap_err();
    assert!(refused.is_outage(), "{refused}");
    store.complete(&first.owner, &response("paid"), TTL).await.unwrap_err();
    sqlx::raw_sql("SET GLOBAL read_only = 0").execute(&mut admin).await.unwrap();
    let written = store.complete(&first.owner, &response("paid"), TTL).await.unwrap();
    assert_eq!(written, Written::Accepted);
    assert!(is_won(&store.claim(&claim("other")).await.unwrap()));
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let url = MariaDbServer::shared().fresh_database();
    let builder = || MySqlStore::builder(url.parse().unwrap());
    for (builder, expected) in [
        (builder().table("a`b"), "Name"),
        (builder().table(""), "Name"),
        (builder().statement_timeout(Duration::ZERO), "Timeout"),
        (builder().max_connections(0), "NoConnections"),
        (builder().max_transactions(0), "NoConnections"),
    ] {
        let error = builder.connect().await.unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
    }
    let nowhere = url.rsplit_once('/').unwrap().0;
    let error = MySqlStore::connect(nowhere).await.unwrap_err();
    assert!(matches!(error, SetupError::NoDatabase), "{error:?}");
    let error = MySqlStore::connect("mysql://root@127.0.0.1:1/db").await.unwrap_err();
    assert!(matches!(error, SetupError::Connect(_)), "{error:?}");
    assert!(error.source().is_some());
    assert!(MySqlStore::connect("no url").await.is_err());
}

#[tokio::test]
async fn no_password_is_shown() {
    let builder = MySqlStore::builder("mysql://app:secret@127.0.0.1/db".parse().unwrap());
    assert!(!format!("{builder:?}").contains("secret"));
    let store = Database::fresh().await.store().await;
    assert!(format!("{store:?}").contains("`idem`"), "{store:?}");
}
