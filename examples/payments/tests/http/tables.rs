//! The database behind the example's back.

use sqlx::{Connection, Executor, PgConnection, SqliteConnection};

/// What the provider kept of a call.
#[derive(Debug, PartialEq, sqlx::FromRow)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) calls: i64,
    #[sqlx(rename = "ref")]
    pub(crate) reference: String,
}

/// What the provider keeps.
pub(crate) async fn provider_ledger(url: &str) -> Vec<Entry> {
    const SELECT: &str = "SELECT key, calls, ref FROM provider_ledger";
    if is_sqlite(url) {
        let mut connection = SqliteConnection::connect(url).await.unwrap();
        sqlx::query_as(SELECT).fetch_all(&mut connection).await.unwrap()
    } else {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::query_as(SELECT).fetch_all(&mut connection).await.unwrap()
    }
}

/// Runs a statement.
pub(crate) async fn execute(url: &str, statement: &'static str) {
    if is_sqlite(url) {
        SqliteConnection::connect(url).await.unwrap().execute(statement).await.unwrap();
    } else {
        PgConnection::connect(url).await.unwrap().execute(statement).await.unwrap();
    }
}

/// From now on no answer can be recorded.
pub(crate) async fn refuse_answers(url: &str) {
    if is_sqlite(url) {
        let create = "CREATE TRIGGER refuse_answers BEFORE INSERT ON idem WHEN NEW.state = 2 \
                      BEGIN SELECT raise(ABORT, 'refused'); END";
        execute(url, create).await;
    } else {
        on_answers(url, "RAISE 'refused'").await;
    }
}

/// From now on Postgres takes ten minutes to record an answer.
pub(crate) async fn delay_answers(url: &str) {
    on_answers(url, "PERFORM pg_sleep(600)").await;
}

async fn on_answers(url: &str, statement: &'static str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let function = format!(
        "CREATE FUNCTION on_answers() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN {statement}; RETURN NEW; END $$; \
         CREATE TRIGGER refuse_answers BEFORE INSERT OR UPDATE ON idem FOR EACH ROW \
         WHEN (NEW.state = 2) EXECUTE FUNCTION on_answers()"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(function)).execute(&mut connection).await.unwrap();
}

/// Answers can be recorded again.
pub(crate) async fn accept_answers(url: &str) {
    if is_sqlite(url) {
        execute(url, "DROP TRIGGER refuse_answers").await;
    } else {
        execute(url, "DROP TRIGGER refuse_answers ON idem").await;
    }
}

/// How many answers Postgres is taking its time to record.
pub(crate) async fn delayed_answers(url: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let select = "SELECT count(*) FROM pg_stat_activity \
                  WHERE wait_event = 'PgSleep' AND datname = current_database()";
    sqlx::query_scalar(select).fetch_one(&mut connection).await.unwrap()
}

/// Ends the sessions of a process that is dead: Postgres notices it only when they have something to
/// say.
pub(crate) async fn end_delayed_answers(url: &str) {
    execute(
        url,
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
         WHERE wait_event = 'PgSleep' AND datname = current_database()",
    )
    .await;
}

fn is_sqlite(url: &str) -> bool {
    url.starts_with("sqlite:")
}
