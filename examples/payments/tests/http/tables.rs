//! The database behind the example's back.

pub(crate) use demo::testing::sql::execute;
use demo::testing::sql::fetch;
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

/// How many answers Postgres is taking its time to record.
pub(crate) async fn delayed_answers(url: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let select = "SELECT count(*) FROM pg_stat_activity \
                  WHERE wait_event = 'PgSleep' AND datname = current_database()";
    sqlx::query_scalar(select).fetch_one(&mut connection).await.unwrap()
}
