//! The SQL that `docs/observability.md` gives to operators.

use sqlx::{Row, postgres::PgRow};

use crate::{
    common::observability::{bring_about, statement, statements},
    database::Database,
};

const SECTION: &str = "On Postgres";

async fn rows(database: &Database, comment: &str) -> Vec<PgRow> {
    let sql = sqlx::AssertSqlSafe(statement(SECTION, comment, "paid"));
    sqlx::raw_sql(sql).fetch_all(&database.outside).await.unwrap()
}

async fn keys(database: &Database, comment: &str) -> Vec<String> {
    let mut keys: Vec<_> = rows(database, comment).await.iter().map(|row| row.get("key")).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn the_documented_statements_find_what_they_say() {
    let database = Database::fresh().await;
    bring_about(&database.store().await, &database).await;
    assert_eq!(keys(&database, "the record of a key_hash").await, ["paid"]);
    assert_eq!(keys(&database, "the same, shorter").await, ["paid"]);
    assert_eq!(keys(&database, "in flight").await, ["cut off", "slow"]);
    assert_eq!(keys(&database, "held").await, ["held"]);
    assert_eq!(keys(&database, "executed more").await, ["cut off"]);
    assert!(rows(&database, "executed more").await[0].get::<bool, _>("takeover"));
    let kept = rows(&database, "how much").await;
    assert_eq!((kept.len(), kept[0].get::<i64, _>("records")), (1, 6));
    assert_eq!(kept[0].get::<i64, _>("body_bytes"), 4);
    let most = rows(&database, "who has").await;
    assert_eq!((most.len(), most[0].get::<i64, _>("records")), (1, 6));
    assert_eq!(rows(&database, "expired").await[0].get::<i64, _>("records"), 1);
    assert_eq!(rows(&database, "the size").await.len(), 1);
    assert_eq!(statements(SECTION), 9, "each of them is tried");
}

#[tokio::test]
async fn a_key_hash_is_found_by_the_index() {
    let database = Database::fresh().await;
    let explain = format!("EXPLAIN {}", statement(SECTION, "the record of a key_hash", "paid"));
    let sql = sqlx::AssertSqlSafe(format!("SET enable_seqscan = off; {explain}"));
    let plan = sqlx::raw_sql(sql).fetch_all(&database.outside).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|line| line.get(0)).collect();
    assert!(plan.iter().any(|line| line.contains("Index Cond")), "{plan:#?}");
}
