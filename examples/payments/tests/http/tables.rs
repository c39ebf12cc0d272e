//! The database behind the example's back.

pub(crate) use demo::testing::sql::execute;
use demo::testing::sql::{fetch, is_sqlite};
use sqlx::{Connection, PgConnection};

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
    fetch(url, "SELECT key, calls, ref FROM provider_ledger").await
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
    let function = format!(
        "CREATE FUNCTION on_answers() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN {statement}; RETURN NEW; END $$; \
         CREATE TRIGGER refuse_answers BEFORE INSERT OR UPDATE ON idem FOR EACH ROW \
         WHEN (NEW.state = 2) EXECUTE FUNCTION on_answers()"
    );
    execute(url, &function).await;
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
