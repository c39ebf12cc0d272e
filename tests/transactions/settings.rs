//! How transactions behave, and what is left of that on their connections: nothing.

use std::time::Duration;

use axum::{
    Extension, Router,
    extract::State,
    http::StatusCode,
    routing::{MethodRouter, post},
};
use idem::{Idem, PostgresStore, Tx, idempotent};
use sqlx::{PgConnection, PgPool, Postgres, postgres::PgPoolOptions};

use crate::support::{
    Hold, Runs, Service, eventually, patiently,
    postgres::{service, url_of},
};

/// Settings of a session, in the order in which the tests name them.
async fn settings(connection: &mut PgConnection) -> String {
    let sql = "SELECT concat_ws(', ', current_setting('transaction_isolation'),
        current_setting('lock_timeout'), current_setting('statement_timeout'),
        current_setting('idle_in_transaction_session_timeout'))";
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

macro_rules! shows {
    ($($name:ident [$($option:tt)*];)*) => {$(
        #[idempotent(scope = "global", required = false, $($option)*)]
        async fn $name(mut tx: Tx<Postgres>) -> (StatusCode, String) {
            (StatusCode::CREATED, settings(&mut tx).await)
        }
    )*};
}
shows! {
    usual [];
    serializable [isolation = "serializable"];
    repeatable [isolation = "repeatable read"];
    committed [isolation = "read committed"];
    locks [lock_timeout = "1500ms"];
    statements [statement_timeout = "7s"];
    idles [idle_timeout = "90s"];
    everything [
        isolation = "serializable", lock_timeout = "2s", statement_timeout = "3s",
        idle_timeout = "4s"
    ];
}

/// A service whose handlers have this pool of one connection.
async fn service_with_pool(idle_timeout: Option<Duration>) -> (Service<Postgres>, PgPool) {
    let service = service().await;
    let pool = PgPoolOptions::new().max_connections(1);
    let pool = pool.connect(&url_of(&service.pool)).await.unwrap();
    let store = PostgresStore::beside(&pool).connect().await.unwrap();
    let mut builder = Idem::builder(store);
    if let Some(timeout) = idle_timeout {
        builder = builder.idle_timeout(timeout);
    }
    (service.with(builder.build().unwrap()), pool)
}

/// What the handler sees, and afterwards the connection's next user.
async fn check(
    idle_timeout: Option<Duration>,
    cases: [(MethodRouter<Service<Postgres>>, &str); 8],
) {
    let (service, pool) = service_with_pool(idle_timeout).await;
    let before = settings(&mut pool.acquire().await.unwrap()).await;
    assert_eq!(before, "read committed, 0, 0, 0");
    for (number, (handler, expected)) in cases.into_iter().enumerate() {
        let router = Router::new().route("/notes", handler);
        let answer = service.send(&router, &number.to_string()).await;
        assert_eq!((answer.status, &*answer.body), (StatusCode::CREATED, expected));
        let unguarded = http::Request::post("/notes").body("".into()).unwrap();
        assert_eq!(service.send_request(&router, unguarded).await.body, expected);
        let mut connection = pool.acquire().await.unwrap();
        assert_eq!(settings(&mut connection).await, before);
        let mark = "SELECT coalesce(current_setting('idem.attempt', true), '')";
        let mark: String = sqlx::query_scalar(mark).fetch_one(&mut *connection).await.unwrap();
        assert_eq!(mark, "");
    }
}

#[tokio::test]
async fn settings_are_in_force_inside_and_gone_afterwards() {
    let cases = [
        (post(usual), "read committed, 0, 0, 1min"),
        (post(serializable), "serializable, 0, 0, 1min"),
        (post(repeatable), "repeatable read, 0, 0, 1min"),
        (post(committed), "read committed, 0, 0, 1min"),
        (post(locks), "read committed, 1500ms, 0, 1min"),
        (post(statements), "read committed, 0, 7s, 1min"),
        (post(idles), "read committed, 0, 0, 90s"),
        (post(everything), "serializable, 2s, 3s, 4s"),
    ];
    check(None, cases).await;
}

#[tokio::test]
async fn the_engine_has_an_idle_timeout_for_those_without_their_own() {
    let cases = [
        (post(usual), "read committed, 0, 0, 5s"),
        (post(serializable), "serializable, 0, 0, 5s"),
        (post(repeatable), "repeatable read, 0, 0, 5s"),
        (post(committed), "read committed, 0, 0, 5s"),
        (post(locks), "read committed, 1500ms, 0, 5s"),
        (post(statements), "read committed, 0, 7s, 5s"),
        (post(idles), "read committed, 0, 0, 90s"),
        (post(everything), "serializable, 2s, 3s, 4s"),
    ];
    check(Some(Duration::from_secs(5)), cases).await;
}

/// What the application's pool sets up for itself.
#[tokio::test]
async fn without_settings_the_pool_s_own_are_in_force() {
    let service = service().await;
    let options: sqlx::postgres::PgConnectOptions = url_of(&service.pool).parse().unwrap();
    let options = options.options([
        ("lock_timeout", "11s"),
        ("statement_timeout", "12s"),
        ("idle_in_transaction_session_timeout", "13s"),
        ("default_transaction_isolation", "repeatable read"),
    ]);
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let store = PostgresStore::beside(&pool).connect().await.unwrap();
    let service = service.with(Idem::builder(store).build().unwrap());
    let router = Router::new().route("/notes", post(usual));
    assert_eq!(service.send(&router, "k").await.body, "repeatable read, 11s, 12s, 1min");
    let mut connection = pool.acquire().await.unwrap();
    assert_eq!(settings(&mut connection).await, "repeatable read, 11s, 12s, 13s");
}

#[idempotent(scope = "global", idle_timeout = "200ms")]
async fn falls_asleep(
    State(runs): State<Runs>,
    Extension(hold): Extension<Hold>,
    mut tx: Tx<Postgres>,
    body: String,
) -> (StatusCode, String) {
    let run = runs.count();
    sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
    if run == 1 {
        sqlx::query("SET LOCAL application_name = 'sleeper'").execute(&mut *tx).await.unwrap();
        hold.here().await;
    }
    (StatusCode::from_u16(body.parse().unwrap()).unwrap(), format!("run {run}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_ends_a_transaction_whose_handler_is_idle_for_too_long() {
    let service = service().await;
    let hold = Hold::new();
    let router = Router::new().route("/notes", post(falls_asleep)).layer(Extension(hold.clone()));
    let first = tokio::spawn({
        let (service, router) = (service.clone(), router.clone());
        async move { service.post(&router, "k", "201").await }
    });
    hold.arrival().await;
    eventually(async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sleeper'
            AND datname = current_database()";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&service.pool).await.unwrap() == 0
    })
    .await;
    hold.release();
    let first = patiently(first).await.unwrap();
    assert_eq!(first.status, StatusCode::SERVICE_UNAVAILABLE, "{first:?}");
    assert_eq!(first.problem(), "store-unavailable");
    assert!(service.notes().await.is_empty());
    assert_eq!(service.records().await, 0);
    let retry = service.post(&router, "k", "201").await;
    assert_eq!((retry.status, &*retry.body), (StatusCode::CREATED, "run 2"));
    assert_eq!(service.notes().await.len(), 1);
}

#[idempotent(scope = "global", lock_timeout = "50ms")]
async fn locks_notes(mut tx: Tx<Postgres>) -> Result<StatusCode, StatusCode> {
    let lock = sqlx::query("LOCK TABLE notes").execute(&mut *tx).await;
    lock.map(|_| StatusCode::CREATED).map_err(|error| {
        let code = error.as_database_error().unwrap().code().unwrap().into_owned();
        if code == "55P03" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::IM_A_TEAPOT }
    })
}

#[tokio::test]
async fn a_statement_waits_no_longer_for_a_lock_than_it_is_told_to() {
    let service = service().await;
    let router = Router::new().route("/notes", post(locks_notes));
    let mut blocker = service.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE notes").execute(&mut *blocker).await.unwrap();
    assert_eq!(service.send(&router, "k").await.status, StatusCode::SERVICE_UNAVAILABLE);
    blocker.rollback().await.unwrap();
    assert_eq!(service.send(&router, "k").await.status, StatusCode::CREATED);
}

/// The statements come with the request.
#[idempotent(scope = "global")]
async fn changes(mut tx: Tx<Postgres>, statements: String) -> StatusCode {
    sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut *tx).await.unwrap();
    StatusCode::CREATED
}

#[tokio::test]
async fn what_a_handler_sets_does_not_lead_its_record_elsewhere() {
    for statements in [
        "SET LOCAL search_path = other",
        "SELECT set_config('search_path', 'other, public', true)",
        "SET LOCAL search_path = ''",
        "SET LOCAL ROLE limited",
        "SET LOCAL SESSION AUTHORIZATION limited",
        "SET LOCAL standard_conforming_strings = off; SET LOCAL bytea_output = 'escape'; \
         SET LOCAL DateStyle = 'German'; SET LOCAL TimeZone = 'Asia/Kathmandu'",
        "SAVEPOINT idem; CREATE TEMP TABLE idem (id bytea); ROLLBACK TO idem",
        "CREATE TEMP TABLE idem (LIKE public.idem INCLUDING ALL)",
    ] {
        let (service, pool) = service_with_pool(None).await;
        let schema = "CREATE SCHEMA other;
            CREATE TABLE other.idem (LIKE public.idem INCLUDING ALL);
            CREATE SEQUENCE other.idem_fence;
            DO $$ BEGIN CREATE ROLE limited; EXCEPTION WHEN OTHERS THEN END $$;
            GRANT SELECT, INSERT, UPDATE ON public.idem TO limited";
        sqlx::raw_sql(schema).execute(&service.pool).await.unwrap();
        let router = Router::new().route("/notes", post(changes));
        let answer = service.post(&router, "k", statements).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{statements}: {answer:?}");
        let records =
            "SELECT (SELECT count(*) FROM public.idem) - (SELECT count(*) FROM other.idem)";
        let records: i64 = sqlx::query_scalar(records).fetch_one(&service.pool).await.unwrap();
        assert_eq!(records, 1, "{statements}");
        assert!(service.post(&router, "k", statements).await.is_replay(), "{statements}");
        let user: String =
            sqlx::query_scalar("SELECT current_user::text || current_setting('search_path')")
                .fetch_one(&pool)
                .await
                .unwrap();
        assert_eq!(user, "postgres\"$user\", public", "{statements}");
    }
}

/// Then nothing is committed, and the connection is as before.
#[tokio::test]
async fn a_handler_that_takes_its_right_to_the_record_away_commits_nothing() {
    let (service, pool) = service_with_pool(None).await;
    let role = "DO $$ BEGIN CREATE ROLE stranger; EXCEPTION WHEN OTHERS THEN END $$;";
    sqlx::raw_sql(role).execute(&service.pool).await.unwrap();
    let router = Router::new().route("/notes", post(changes));
    let answer = service.post(&router, "k", "SET LOCAL ROLE stranger").await;
    assert_eq!(answer.problem(), "not-committed");
    assert!(service.notes().await.is_empty());
    assert_eq!(service.records().await, 0);
    let user: String =
        sqlx::query_scalar("SELECT current_user::text").fetch_one(&pool).await.unwrap();
    assert_eq!(user, "postgres");
}
