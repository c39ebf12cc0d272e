//! What a request costs its database, as the server itself counts it.

use std::sync::OnceLock;

use axum::{Router, extract::State, http::StatusCode, routing::post};
use idem::{Tx, idempotent};
use idem_testkit::PostgresServer;
use sqlx::{AssertSqlSafe, Postgres};
use tokio::sync::{Mutex, MutexGuard};

use crate::support::{
    Runs, Service,
    postgres::{engine, service_on, url_of},
};

#[idempotent(scope = "global", required = false)]
async fn create(
    State(runs): State<Runs>,
    mut tx: Tx<Postgres>,
    body: String,
) -> (StatusCode, String) {
    let run = runs.count();
    sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
    let status = StatusCode::from_u16(body.parse().unwrap()).unwrap();
    (status, format!("run {run}"))
}

fn router() -> Router<Service<Postgres>> {
    Router::new().route("/notes", post(create))
}

/// A service alone on its server, whose engine has a user of its own.
async fn counted_service() -> (Service<Postgres>, MutexGuard<'static, ()>) {
    static SERVER: OnceLock<PostgresServer> = OnceLock::new();
    static IN_TURN: Mutex<()> = Mutex::const_new(());
    let turn = IN_TURN.lock().await;
    let mut fresh = false;
    let server = SERVER.get_or_init(|| {
        fresh = true;
        PostgresServer::start()
    });
    let service = service_on(server).await;
    if fresh {
        execute(&service, "ALTER SYSTEM SET autovacuum = off").await;
        execute(&service, "SELECT pg_reload_conf()").await;
        execute(&service, "CREATE ROLE app SUPERUSER LOGIN").await;
    }
    execute(&service, "CREATE EXTENSION pg_stat_statements").await;
    let url = url_of(&service.pool).replace("postgres@", "app@");
    let service = service.with(engine(&url).await);
    // Whatever happens only once on a connection: types are looked up, the page is tidied up.
    for _ in 0..3 {
        assert_eq!(service.post(&router(), "warm", "201").await.status, StatusCode::CREATED);
    }
    reset(&service).await;
    (service, turn)
}

async fn execute(service: &Service<Postgres>, sql: &'static str) {
    sqlx::raw_sql(sql).execute(&service.pool).await.unwrap();
}

async fn number(service: &Service<Postgres>, sql: &str) -> i64 {
    let query = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()));
    query.fetch_one(&service.pool).await.unwrap()
}

async fn reset(service: &Service<Postgres>) {
    execute(service, "SELECT pg_stat_statements_reset()").await;
}

/// What the engine sent, in as many words as it takes to tell them apart; and what each wrote.
async fn sent(service: &Service<Postgres>) -> Vec<(String, i64, bool)> {
    let sql = "SELECT CASE
            WHEN query LIKE '%pg_try_advisory_xact_lock%' THEN 'decide'
            WHEN query LIKE '%written AS%' THEN 'record'
            WHEN query LIKE '%INSERT INTO notes%' THEN 'handler'
            ELSE query
        END, calls, wal_records > 0
        FROM pg_stat_statements WHERE userid = 'app'::regrole ORDER BY 1";
    sqlx::query_as(sql).fetch_all(&service.pool).await.unwrap()
}

fn once<const N: usize>(statements: [(&str, bool); N]) -> Vec<(String, i64, bool)> {
    statements.into_iter().map(|(it, writes)| (it.to_owned(), 1, writes)).collect()
}

async fn next_transaction(service: &Service<Postgres>) -> i64 {
    number(service, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").await
}

/// The order is that of the names; `COMMIT` is logged by what it commits.
#[tokio::test]
async fn a_first_request_costs_two_statements_and_one_commit_and_writes_its_row_once() {
    let (service, _turn) = counted_service().await;
    execute(&service, "TRUNCATE idem").await;
    reset(&service).await;
    let next = next_transaction(&service).await;
    assert_eq!(service.post(&router(), "k", "201").await.status, StatusCode::CREATED);
    let sent = sent(&service).await;
    let names: Vec<_> = sent.iter().map(|(name, calls, _)| (name.as_str(), *calls)).collect();
    let expected = [("BEGIN", 1), ("COMMIT", 1), ("decide", 1), ("handler", 1), ("record", 1)];
    assert_eq!(names, expected);
    assert_eq!(next_transaction(&service).await, next + 1, "one transaction has written");
    // The first place of an empty table, and nobody has locked or changed it since.
    let whole = "SELECT count(*) FROM idem WHERE ctid = '(0,1)' AND xmax = 0 AND state = 2";
    assert_eq!(number(&service, whole).await, 1);
    let together = "SELECT count(*) FROM idem JOIN notes ON notes.xmin = idem.xmin";
    assert_eq!(number(&service, together).await, 1);
}

#[tokio::test]
async fn a_replay_costs_one_statement_and_writes_nothing() {
    const FENCE: &str = "SELECT last_value FROM idem_fence";
    let (service, _turn) = counted_service().await;
    let (next, fence) = (next_transaction(&service).await, number(&service, FENCE).await);
    assert!(service.post(&router(), "warm", "201").await.is_replay());
    let expected = once([("BEGIN", false), ("ROLLBACK", false), ("decide", false)]);
    assert_eq!(sent(&service).await, expected);
    assert_eq!(service.post(&router(), "warm", "200").await.problem(), "mismatch");
    assert_eq!(next_transaction(&service).await, next);
    assert_eq!(number(&service, FENCE).await, fence);
    assert_eq!(number(&service, "SELECT xmax::text::bigint FROM idem").await, 0);
}

#[tokio::test]
async fn a_final_error_costs_a_rollback_a_look_at_the_mark_and_its_record() {
    let (service, _turn) = counted_service().await;
    let invalid = service.post(&router(), "k", "422").await;
    assert_eq!(invalid.status, StatusCode::UNPROCESSABLE_ENTITY);
    let sent = sent(&service).await;
    let names: Vec<_> = sent.iter().map(|(name, calls, _)| (name.as_str(), *calls)).collect();
    assert_eq!(
        names,
        [
            ("BEGIN", 1),
            ("ROLLBACK", 1),
            ("SELECT current_setting($2, $3) = $1", 1),
            ("decide", 1),
            ("handler", 1),
            ("record", 1)
        ]
    );
}

#[tokio::test]
async fn an_answer_that_is_not_final_writes_no_record() {
    let (service, _turn) = counted_service().await;
    assert_eq!(service.post(&router(), "k", "503").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let sent = sent(&service).await;
    let names: Vec<_> = sent.iter().map(|(name, calls, _)| (name.as_str(), *calls)).collect();
    let mark = ("SELECT current_setting($2, $3) = $1", 1);
    assert_eq!(names, [("BEGIN", 1), ("ROLLBACK", 1), mark, ("decide", 1), ("handler", 1)]);
}

#[tokio::test]
async fn a_request_without_a_key_costs_a_commit_and_two_statements() {
    let (service, _turn) = counted_service().await;
    let request = http::Request::post("/notes").body("201".into()).unwrap();
    let answer = service.send_request(&router(), request).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let sent = sent(&service).await;
    assert_eq!(sent.iter().map(|(_, calls, _)| calls).sum::<i64>(), 5, "{sent:?}");
    assert!(sent.iter().all(|(name, ..)| name != "decide" && name != "record"), "{sent:?}");
}

/// A second writer would have to wait for the first, and there is only one file to commit.
#[tokio::test]
async fn on_sqlite_a_replay_needs_no_write_lock() {
    use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

    let service = crate::support::sqlite::service().await;
    let router = Router::new().route("/notes", post(on_sqlite));
    assert_eq!(service.send(&router, "k").await.status, StatusCode::CREATED);
    let options = SqliteConnectOptions::new().filename(crate::support::sqlite::path_of(&service));
    let mut blocker = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut blocker).await.unwrap();
    for _ in 0..20 {
        assert!(service.send(&router, "k").await.is_replay());
    }
    sqlx::query("ROLLBACK").execute(&mut blocker).await.unwrap();
    let (last,): (i64,) =
        sqlx::query_as("SELECT last FROM idem_fence").fetch_one(&service.pool).await.unwrap();
    assert_eq!(last, 1);
}

#[idempotent(scope = "global")]
async fn on_sqlite(mut tx: Tx<sqlx::Sqlite>) -> StatusCode {
    sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
    StatusCode::CREATED
}
