//! The SQL that `docs/observability.md` gives to operators.

use sqlx::{Row, sqlite::SqliteRow};

use crate::{
    common::observability::{bring_about, statement, statements},
    file::File,
};

const SECTION: &str = "On SQLite";

async fn rows(file: &File, comment: &str) -> Vec<SqliteRow> {
    let sql = sqlx::AssertSqlSafe(statement(SECTION, comment, "paid"));
    sqlx::raw_sql(sql).fetch_all(&file.outside).await.unwrap()
}

async fn keys(file: &File, comment: &str) -> Vec<String> {
    let mut keys: Vec<_> = rows(file, comment).await.iter().map(|row| row.get("key")).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn the_documented_statements_find_what_they_say() {
    let file = File::fresh().await;
    bring_about(&file.store().await, &file).await;
    assert_eq!(keys(&file, "the record of a key_hash").await, ["paid"]);
    assert_eq!(keys(&file, "in flight").await, ["cut off", "slow"]);
    assert_eq!(keys(&file, "held").await, ["held"]);
    assert_eq!(keys(&file, "executed more").await, ["cut off"]);
    assert!(rows(&file, "executed more").await[0].get::<bool, _>("takeover"));
    let kept = rows(&file, "how much").await;
    assert_eq!((kept.len(), kept[0].get::<i64, _>("records")), (1, 6));
    assert_eq!(kept[0].get::<i64, _>("body_bytes"), 4);
    let most = rows(&file, "who has").await;
    assert_eq!((most.len(), most[0].get::<i64, _>("records")), (1, 6));
    assert_eq!(rows(&file, "expired").await[0].get::<i64, _>("records"), 1);
    assert!(rows(&file, "the size").await[0].get::<i64, _>("bytes") > 0);
    assert_eq!(statements(SECTION), 8, "each of them is tried");
}
