//! Connecting, migrating, names.

use std::{error::Error, time::Duration};

use idem_core::{Claimed, Store, StoreError, Written};
use idem_sqlx::{PostgresStore, SetupError};
use idem_testkit::PostgresServer;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

use crate::{
    common::{TTL, claim, is_won, response},
    database::Database,
};

async fn works(store: &PostgresStore) {
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
    let url = PostgresServer::shared().fresh_database();
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let url = url.clone();
        tasks.spawn(async move {
            let builder = PostgresStore::builder(url.parse().unwrap()).schema("new");
            let store = builder.connect().await.unwrap();
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

#[tokio::test]
async fn tables_of_other_names_stand_beside_the_default_ones() {
    let database = Database::fresh().await;
    works(&database.store().await).await;
    let builder = || PostgresStore::builder(database.url.parse().unwrap());
    for builder in [
        builder().table("Payments_idem"),
        builder().schema("App"),
        builder().schema("App").table("other"),
        builder().table("t".repeat(48)),
    ] {
        let store = builder.connect().await.unwrap();
        store.migrate().await.unwrap();
        works(&store).await;
    }
    let tables = "SELECT string_agg(schemaname || '.' || tablename, ' ' ORDER BY 1)
        FROM pg_tables WHERE schemaname IN ('public', 'App')";
    let tables: String = sqlx::query_scalar(tables).fetch_one(&database.outside).await.unwrap();
    assert!(!tables.contains("_sqlx_migrations"), "{tables}");
    for table in [
        "public.idem",
        "public.idem_migrations",
        "public.Payments_idem",
        "public.Payments_idem_migrations",
        "App.idem",
        "App.other",
        "App.other_migrations",
    ] {
        assert!(tables.split(' ').any(|it| it == table), "{table} in {tables}");
    }
}

#[tokio::test]
async fn a_schema_that_is_there_needs_no_right_to_create_it() {
    let database = Database::fresh().await;
    database
        .execute(
            "CREATE SCHEMA granted; CREATE ROLE modest LOGIN; GRANT ALL ON SCHEMA granted TO modest",
        )
        .await;
    let url = database.url.replace("postgres@", "modest@");
    let builder = PostgresStore::builder(url.parse().unwrap()).schema("granted");
    let store = builder.connect().await.unwrap();
    store.migrate().await.unwrap();
    works(&store).await;
}

#[tokio::test]
async fn the_files_can_be_run_by_hand() {
    let url = PostgresServer::shared().fresh_database();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let file = include_str!("../../migrations/postgres/0001_records.sql");
    sqlx::raw_sql(file).execute(&mut connection).await.unwrap();
    works(&PostgresStore::connect(&url).await.unwrap()).await;
}

#[tokio::test]
async fn a_migration_may_take_longer_than_a_statement() {
    let url = PostgresServer::shared().fresh_database();
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut transaction = other.begin().await.unwrap();
    sqlx::query("CREATE TABLE idem_migrations ()").execute(&mut *transaction).await.unwrap();
    let store = PostgresStore::builder(url.parse().unwrap())
        .statement_timeout(Duration::from_millis(200))
        .connect()
        .await
        .unwrap();
    let migrating = tokio::spawn(async move { store.migrate().await });
    sleep(Duration::from_millis(600)).await;
    transaction.rollback().await.unwrap();
    migrating.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_missing_table_is_told_by_the_source_of_the_error() {
    let url = PostgresServer::shared().fresh_database();
    let store = PostgresStore::connect(&url).await.unwrap();
    let error = store.claim(&claim("k")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let source = error.source().unwrap().downcast_ref::<sqlx::Error>().unwrap();
    assert_eq!(source.as_database_error().unwrap().code().unwrap(), "42P01");
}

#[tokio::test]
async fn a_store_beside_a_pool_has_connections_of_its_own() {
    let database = Database::fresh().await;
    let pool = PgPool::connect(&database.url).await.unwrap();
    let store = PostgresStore::beside(&pool).connect().await.unwrap();
    pool.close().await;
    works(&store).await;
}

#[tokio::test]
async fn debug_output_shows_no_password() {
    let database = Database::fresh().await;
    let url = database.url.replace("postgres@", "postgres:hunter2@");
    let builder = PostgresStore::builder(url.parse().unwrap());
    assert!(!format!("{builder:?}").contains("hunter2"));
    let store = builder.connect().await.unwrap();
    assert!(!format!("{store:?}").contains("hunter2"));
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let builder = || PostgresStore::builder("postgres://127.0.0.1:1/nowhere".parse().unwrap());
    let refused = builder().table("a\"b").connect().await;
    assert!(matches!(refused, Err(SetupError::Name { .. })), "{refused:?}");
    let refused = builder().schema("a b").connect().await;
    assert!(matches!(refused, Err(SetupError::Name { .. })), "{refused:?}");
    let refused = builder().max_connections(0).connect().await;
    assert!(matches!(refused, Err(SetupError::NoConnections)), "{refused:?}");
    for timeout in [Duration::ZERO, Duration::from_micros(999), Duration::MAX] {
        let refused = builder().statement_timeout(timeout).connect().await;
        assert!(matches!(refused, Err(SetupError::Timeout(it)) if it == timeout), "{refused:?}");
    }
    let refused = builder().statement_timeout(Duration::from_millis(300)).connect().await;
    assert!(matches!(refused, Err(SetupError::Connect(_))), "{refused:?}");
}

#[tokio::test]
async fn a_pooler_that_drops_the_statement_timeout_is_refused() {
    let server = PostgresServer::shared();
    let target = server.url().split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(&target).await.unwrap();
            let mut startup = vec![0; 4_096];
            let length = client.read(&mut startup).await.unwrap();
            let setting = b"statement_timeout=4";
            let at = startup.windows(setting.len()).position(|it| it == setting).unwrap();
            startup[at + setting.len() - 1] = b'9';
            server.write_all(&startup[..length]).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable");
    let refused = PostgresStore::connect(&url).await;
    assert!(matches!(refused, Err(SetupError::StartupOptions)), "{refused:?}");
}
