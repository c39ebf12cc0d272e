//! How transactions behave, and what is left of that on their connections: nothing.

use std::time::Duration;

use axum::{
    Extension, Router,
    extract::State,
    http::StatusCode,
    routing::{MethodRouter, post},
};
use idem::{Idem, MySqlStore, Tx, idempotent};
use sqlx::{MySql, MySqlConnection, MySqlPool, mysql::MySqlPoolOptions};

use crate::support::{
    Hold, Runs, Service, eventually,
    mariadb::{service, url_of},
    patiently,
};

/// Settings of a session, in the order in which the tests name them.
async fn settings(connection: &mut MySqlConnection) -> String {
    let sql = "SELECT CONCAT_WS(', ', @@innodb_lock_wait_timeout, @@lock_wait_timeout,
        @@max_statement_time, @@idle_transaction_timeout)";
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

/// What else a session is set to while a handler has it.
async fn rest(connection: &mut MySqlConnection) -> String {
    let sql = "SELECT CONCAT_WS(', ', @@tx_read_only, @@completion_type, @@tx_isolation,
        @@autocommit, @@time_zone, @@in_transaction)";
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

macro_rules! shows {
    ($($name:ident [$($option:tt)*];)*) => {$(
        #[idempotent(scope = "global", required = false, $($option)*)]
        async fn $name(mut tx: Tx<MySql>, body: String) -> (StatusCode, String) {
            let settings = settings(&mut tx).await;
            (StatusCode::from_u16(body.parse().unwrap()).unwrap(), settings)
        }
    )*};
}
shows! {
    usual [];
    locks [lock_timeout = "1500ms"];
    statements [statement_timeout = "7500ms"];
    idles [idle_timeout = "90s"];
    everything [
        isolation = "serializable", lock_timeout = "2s", statement_timeout = "3s",
        idle_timeout = "4s"
    ];
}

/// A service whose handlers have this pool of one connection.
async fn service_with_pool() -> (Service<MySql>, MySqlPool) {
    let service = service().await;
    let pool = MySqlPoolOptions::new().max_connections(1);
    let pool = pool.connect(&url_of(&service.pool)).await.unwrap();
    let store = MySqlStore::beside(&pool).connect().await.unwrap();
    (service.with(Idem::builder(store).build().unwrap()), pool)
}

#[tokio::test]
async fn settings_are_in_force_inside_and_gone_afterwards() {
    let (service, pool) = service_with_pool().await;
    let mut connection = pool.acquire().await.unwrap();
    // An application's own.
    let own = "SET innodb_lock_wait_timeout = 11, lock_wait_timeout = 12, max_statement_time = 13,
        idle_transaction_timeout = 14";
    sqlx::raw_sql(own).execute(&mut *connection).await.unwrap();
    let before = (settings(&mut connection).await, rest(&mut connection).await);
    assert_eq!(before.0, "11, 12, 13.000000, 14");
    assert_eq!(before.1, "OFF, NO_CHAIN, REPEATABLE-READ, ON, +00:00, 0");
    drop(connection);
    let cases: [(MethodRouter<Service<MySql>>, &str); 5] = [
        (post(usual), "11, 12, 13.000000, 60"),
        (post(locks), "2, 2, 13.000000, 60"),
        (post(statements), "11, 12, 7.500000, 60"),
        (post(idles), "11, 12, 13.000000, 90"),
        (post(everything), "2, 2, 3.000000, 4"),
    ];
    for (number, (handler, expected)) in cases.into_iter().enumerate() {
        let router = Router::new().route("/notes", handler);
        for status in ["201", "422", "503"] {
            let answer = service.post(&router, &format!("{number} {status}"), status).await;
            assert_eq!((answer.status.as_str(), &*answer.body), (status, expected));
            let unguarded = http::Request::post("/notes").body(status.into()).unwrap();
            assert_eq!(service.send_request(&router, unguarded).await.body, expected);
            let mut connection = pool.acquire().await.unwrap();
            let after = (settings(&mut connection).await, rest(&mut connection).await);
            assert_eq!(after, before, "{status}");
        }
        // A refused request leaves nothing behind, either.
        let mismatch = service.post(&router, &format!("{number} 201"), "200").await;
        assert_eq!(mismatch.problem(), "mismatch");
        let mut connection = pool.acquire().await.unwrap();
        assert_eq!(rest(&mut connection).await, before.1);
    }
}

macro_rules! reads_twice {
    ($($name:ident [$($option:tt)*];)*) => {$(
        #[idempotent(scope = "global", $($option)*)]
        async fn $name(Extension(hold): Extension<Hold>, mut tx: Tx<MySql>) -> (StatusCode, String) {
            let count = "SELECT count(*) FROM notes";
            let before: i64 = sqlx::query_scalar(count).fetch_one(&mut *tx).await.unwrap();
            hold.here().await;
            let after: i64 = sqlx::query_scalar(count).fetch_one(&mut *tx).await.unwrap();
            (StatusCode::CREATED, format!("{before}, {after}"))
        }
    )*};
}
reads_twice! {
    committed [isolation = "read committed"];
    repeatable [isolation = "repeatable read"];
    serializable [isolation = "serializable"];
}

#[tokio::test(flavor = "multi_thread")]
async fn the_isolation_is_the_one_that_was_asked_for() {
    for (handler, expected) in [(post(committed), "0, 1"), (post(repeatable), "0, 0")] {
        let service = service().await;
        let hold = Hold::new();
        let router = Router::new().route("/notes", handler).layer(Extension(hold.clone()));
        let reading = service.sending(&router, "k");
        hold.arrival().await;
        sqlx::query("INSERT INTO notes VALUES ('x')").execute(&service.pool).await.unwrap();
        hold.release();
        assert_eq!(patiently(reading).await.unwrap().body, expected);
    }
    // What a serializable transaction has read is locked.
    let service = service().await;
    let hold = Hold::new();
    let router = Router::new().route("/notes", post(serializable)).layer(Extension(hold.clone()));
    let reading = service.sending(&router, "k");
    hold.arrival().await;
    let insert = "SET STATEMENT innodb_lock_wait_timeout = 0 FOR INSERT INTO notes VALUES ('x')";
    let refused = sqlx::query(insert).execute(&service.pool).await.unwrap_err();
    assert!(idem::is_conflict(&refused), "{refused}");
    hold.release();
    assert_eq!(patiently(reading).await.unwrap().body, "0, 0");
}

#[idempotent(scope = "global", idle_timeout = "200ms")]
async fn falls_asleep(
    State(runs): State<Runs>,
    Extension(hold): Extension<Hold>,
    mut tx: Tx<MySql>,
) -> (StatusCode, String) {
    let run = runs.count();
    sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
    if run == 1 {
        hold.here().await;
    }
    (StatusCode::CREATED, format!("run {run}"))
}

/// So that one who was cut off does not hold its locks for ever.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_ends_a_transaction_whose_handler_is_idle_for_too_long() {
    let service = service().await;
    let hold = Hold::new();
    let router = Router::new().route("/notes", post(falls_asleep)).layer(Extension(hold.clone()));
    let first = service.sending(&router, "k");
    hold.arrival().await;
    eventually(async || {
        let sql = "SELECT count(*) FROM information_schema.innodb_trx
            JOIN information_schema.processlist ON id = trx_mysql_thread_id
            WHERE db = DATABASE()";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&service.pool).await.unwrap() == 0
    })
    .await;
    hold.release();
    let first = patiently(first).await.unwrap();
    assert_eq!(first.status, StatusCode::SERVICE_UNAVAILABLE, "{first:?}");
    assert_eq!(first.problem(), "store-unavailable");
    assert!(service.notes().await.is_empty());
    assert_eq!(service.records().await, 0);
    let retry = service.send(&router, "k").await;
    assert_eq!((retry.status, &*retry.body), (StatusCode::CREATED, "run 2"));
    assert_eq!(service.notes().await.len(), 1);
}

#[idempotent(scope = "global", statement_timeout = "200ms")]
async fn sleeps(mut tx: Tx<MySql>) -> StatusCode {
    let slept = sqlx::raw_sql("SELECT SLEEP(60)").execute(&mut *tx).await;
    if slept.is_err() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::CREATED }
}

#[tokio::test]
async fn a_statement_takes_no_longer_than_it_is_told_to() {
    let service = service().await;
    let router = Router::new().route("/notes", post(sleeps));
    let asked = std::time::Instant::now();
    let answer = patiently(service.send(&router, "k")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(asked.elapsed() < Duration::from_secs(30));
}

/// The statements come with the request.
#[idempotent(scope = "global")]
async fn changes(mut tx: Tx<MySql>, statements: String) -> StatusCode {
    sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut *tx).await.unwrap();
    StatusCode::CREATED
}

#[tokio::test]
async fn what_a_handler_sets_does_not_lead_its_record_elsewhere() {
    for statements in [
        "USE information_schema",
        "SET timestamp = 1",
        "SET time_zone = '+05:45'",
        "SET sql_mode = 'ANSI,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'",
        "SET sql_mode = 'SIMULTANEOUS_ASSIGNMENT'",
        "SET sql_mode = ''",
        "SET NAMES latin1",
        "SET sql_safe_updates = 1, sql_select_limit = 0",
        "CREATE TEMPORARY TABLE t (id int)",
    ] {
        let (service, _pool) = service_with_pool().await;
        let router = Router::new().route("/notes", post(changes));
        let answer = service.post(&router, "k", statements).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{statements}: {answer:?}");
        assert!(service.post(&router, "k", statements).await.is_replay(), "{statements}");
        let lives = "SELECT count(*) FROM idem WHERE state = 2 AND expires_at BETWEEN
            UTC_TIMESTAMP(6) + INTERVAL 23 HOUR AND UTC_TIMESTAMP(6) + INTERVAL 25 HOUR";
        let lives: i64 = sqlx::query_scalar(lives).fetch_one(&service.pool).await.unwrap();
        assert_eq!(lives, 1, "{statements}");
        // Also on the connection that is left like that.
        let other = service.post(&router, "käse", statements).await;
        assert_eq!(other.status, StatusCode::BAD_REQUEST);
        let other = service.post(&router, "other", "SELECT 1").await;
        if !statements.starts_with("USE") {
            assert_eq!(other.status, StatusCode::CREATED, "{statements}: {other:?}");
        }
    }
}
