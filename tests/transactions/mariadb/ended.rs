//! Transactions that end before their time.

use axum::{Router, extract::State, http::StatusCode, routing::post};
use idem::{Tx, idempotent};
use sqlx::{MySql, MySqlPool, mysql::MySqlPoolOptions};

use crate::support::{
    Runs, Service, eventually,
    mariadb::{service, url_of},
};

/// The statements come with the request, one by one; those that fail are passed over.
#[idempotent(scope = "global", required = false)]
async fn runs(State(runs): State<Runs>, mut tx: Tx<MySql>, statements: String) -> StatusCode {
    runs.count();
    sqlx::query("INSERT INTO notes VALUES ('first')").execute(&mut *tx).await.unwrap();
    for statement in statements.split(';').map(str::to_owned) {
        let _ = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *tx).await;
    }
    StatusCode::CREATED
}

fn router() -> Router<Service<MySql>> {
    Router::new().route("/notes", post(runs))
}

/// Statements that change tables commit by themselves what came before them.
#[tokio::test]
async fn a_handler_whose_statement_commits_by_itself_is_not_recorded() {
    for statements in [
        "CREATE TABLE made (number int)",
        "ALTER TABLE notes COMMENT 'changed'; INSERT INTO notes VALUES ('second')",
        "LOCK TABLES notes WRITE",
        "CREATE TABLE made (number int); BEGIN; INSERT INTO notes VALUES ('second')",
        "BEGIN",
        "SET autocommit = 0; COMMIT; INSERT INTO notes VALUES ('second')",
    ] {
        let service = service().await;
        let answer = service.post(&router(), "k", statements).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{statements}");
        assert_eq!(answer.problem(), "transaction-ended", "{statements}");
        assert_eq!(service.records().await, 0, "{statements}");
        // What came after the end is not committed.
        assert_eq!(service.notes().await, ["first"], "{statements}");
        // The key is free, and the connections are in order again.
        for number in 0..6 {
            let key = if number == 0 { "k" } else { statements };
            let key = format!("{key}{number}");
            let answer = service.post(&router(), &key, "SELECT 1").await;
            assert_eq!(answer.status, StatusCode::CREATED, "{statements}: {answer:?}");
        }
    }
}

/// The same over a record that was there.
#[tokio::test]
async fn a_handler_that_commits_by_itself_over_a_failed_record_is_not_believed() {
    for (statements, notes) in
        [("COMMIT", 1), ("CREATE TABLE made (number int)", 1), ("ROLLBACK", 0)]
    {
        let service = service().await;
        assert_eq!(service.post(&router(), "k", "SELECT 1").await.status, StatusCode::CREATED);
        let failed = "UPDATE idem SET state = 3, status = NULL, headers = NULL, body = NULL";
        sqlx::query(failed).execute(&service.pool).await.unwrap();
        sqlx::query("DELETE FROM notes").execute(&service.pool).await.unwrap();
        let other = "UPDATE idem SET fingerprint = ?";
        // As if the failed request had been this one.
        let router = router();
        let probe = service.post(&router, "other", statements).await;
        assert_eq!(probe.problem(), "transaction-ended", "{statements}");
        sqlx::query("DROP TABLE IF EXISTS made").execute(&service.pool).await.unwrap();
        sqlx::query("DELETE FROM notes").execute(&service.pool).await.unwrap();
        let fingerprint = fingerprint(&service, statements).await;
        sqlx::query(other).bind(fingerprint).execute(&service.pool).await.unwrap();
        let answer = service.post(&router, "k", statements).await;
        assert_eq!(answer.problem(), "transaction-ended", "{statements}");
        assert_eq!(service.notes().await.len(), notes, "{statements}");
        let state: i16 =
            sqlx::query_scalar("SELECT state FROM idem").fetch_one(&service.pool).await.unwrap();
        assert_eq!(state, 3, "{statements}: a retry executes");
    }
}

/// What an execution with this body has for its fingerprint.
async fn fingerprint(service: &Service<MySql>, body: &'static str) -> Vec<u8> {
    #[idempotent(scope = "global")]
    async fn recorded(_: String) -> StatusCode {
        StatusCode::CREATED
    }
    let router = Router::new().route("/notes", post(recorded));
    assert_eq!(service.post(&router, "fingerprint", body).await.status, StatusCode::CREATED);
    let sql = "SELECT fingerprint FROM idem WHERE idem.key = 'fingerprint'";
    let found = sqlx::query_scalar(sql).fetch_one(&service.pool).await.unwrap();
    sqlx::query("DELETE FROM idem WHERE idem.key = 'fingerprint'")
        .execute(&service.pool)
        .await
        .unwrap();
    found
}

/// On its own pool, so that the test can look into it.
async fn service_with_pool() -> (Service<MySql>, MySqlPool) {
    let service = service().await;
    let pool = MySqlPoolOptions::new().max_connections(1);
    let pool = pool.connect(&url_of(&service.pool)).await.unwrap();
    let store = idem::MySqlStore::beside(&pool).connect().await.unwrap();
    (service.with(idem::Idem::builder(store).build().unwrap()), pool)
}

/// Nobody ends a transaction that escaped: its session is ended, so that the pool does not get it
/// back with what we set in it.
#[tokio::test]
async fn a_session_that_nobody_took_back_is_not_used_again() {
    #[idempotent(scope = "global")]
    async fn escapes(mut tx: Tx<MySql>) -> String {
        let sql = "SELECT CAST(CONNECTION_ID() AS char)";
        let id: String = sqlx::query_scalar(sql).fetch_one(&mut *tx).await.unwrap();
        tokio::spawn(async move {
            tokio::task::yield_now().await;
            drop(tx);
        });
        id
    }
    let (service, pool) = service_with_pool().await;
    let router = Router::new().route("/notes", post(escapes));
    let before: u64 = sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(&pool).await.unwrap();
    assert_eq!(service.send(&router, "k").await.problem(), "transaction-escaped");
    sqlx::query("INSERT INTO notes VALUES ('by the pool')").execute(&pool).await.unwrap();
    let after: u64 = sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(&pool).await.unwrap();
    assert_ne!(before, after);
    eventually(async || {
        let sql = "SELECT count(*) FROM information_schema.innodb_trx";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&service.pool).await.unwrap() == 0
    })
    .await;
    assert_eq!(service.notes().await, ["by the pool"]);
}

/// The driver may lose its way when a statement is given up while it is prepared, and take the
/// answer of one statement for that of another. Nothing may be acknowledged then that is not there.
#[tokio::test]
async fn a_statement_that_was_given_up_loses_nothing_that_is_acknowledged() {
    #[idempotent(scope = "global")]
    async fn gives_up(State(runs): State<Runs>, mut tx: Tx<MySql>, polls: String) -> StatusCode {
        sqlx::query("INSERT INTO notes VALUES ('before')").execute(&mut *tx).await.unwrap();
        let first = runs.count() == 1;
        let mut left: u32 = polls.parse().unwrap();
        let insert = "INSERT INTO notes SELECT text FROM notes WHERE text = ? AND 1 = 2";
        let mut statement = std::pin::pin!(sqlx::query(insert).bind("nothing").execute(&mut *tx));
        std::future::poll_fn(|context| {
            if first && left == 0 {
                return std::task::Poll::Ready(());
            }
            left = left.saturating_sub(1);
            statement.as_mut().poll(context).map(drop)
        })
        .await;
        StatusCode::CREATED
    }
    for polls in ["0", "1", "2", "3", "4", "5"] {
        let service = service().await;
        let router = Router::new().route("/notes", post(gives_up));
        let first = crate::support::patiently(service.post(&router, "k", polls)).await;
        let expected = usize::from(first.status == StatusCode::CREATED);
        assert_eq!(service.notes().await.len(), expected, "{polls}: {first:?}");
        let settled = crate::support::patiently(async {
            loop {
                let answer = service.post(&router, "k", polls).await;
                if answer.status == StatusCode::CREATED {
                    return answer;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
        assert_eq!(settled.is_replay(), expected == 1, "{polls}");
        assert_eq!(service.notes().await, ["before"], "{polls}");
    }
}
