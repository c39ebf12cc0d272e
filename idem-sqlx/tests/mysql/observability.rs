//! The SQL that `docs/observability.md` gives to operators.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use idem_core::{Claim, Claimed, Recover, Store, StoredResponse, Written};
use idem_testkit::Harness;
use sqlx::{Row, mysql::MySqlRow};

use crate::{
    common::{
        LEASE, TTL, claim, is_won,
        observability::{bring_about, statement, statements},
        response,
    },
    database::Database,
};

const SECTION: &str = "On MariaDB";

async fn rows(database: &Database, comment: &str) -> Vec<MySqlRow> {
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
    assert_eq!(statements(SECTION), 10, "each of them is tried");
}

#[tokio::test]
async fn a_key_hash_is_found_by_the_index() {
    let database = Database::fresh().await;
    let store = database.store().await;
    for number in 0..200 {
        assert!(is_won(&store.claim(&claim(&number.to_string())).await.unwrap()));
    }
    let explain = format!("EXPLAIN {}", statement(SECTION, "the record of a key_hash", "1"));
    let sql = sqlx::AssertSqlSafe(explain);
    let plan = sqlx::raw_sql(sql).fetch_all(&database.outside).await.unwrap();
    assert_eq!(plan[0].get::<Option<String>, _>("key").as_deref(), Some("PRIMARY"));
}

/// The statement, for the record of which the outcome is unknown.
async fn decide(database: &Database, comment: &str) {
    let id = rows(database, "held").await[0].get::<String, _>("id");
    let sql = statement(SECTION, comment, "paid").replace("x'…'", &format!("x'{id}'"));
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&database.outside).await.unwrap();
}

#[tokio::test]
async fn a_held_record_that_is_decided_upon_is_forgotten_or_replayed() {
    let database = Database::fresh().await;
    let store = database.store().await;
    let hold = Claim { recover: Recover::Hold, ..claim("k") };
    assert!(is_won(&store.claim(&hold).await.unwrap()));
    database.elapse(LEASE).await;
    decide(&database, "nothing happened").await;
    let again = Claim { recover: Recover::Hold, ..claim("k") };
    assert!(is_won(&store.claim(&again).await.unwrap()));

    database.elapse(LEASE).await;
    decide(&database, "it happened").await;
    let late = store.complete(&again.owner, &response("late"), TTL).await.unwrap();
    assert_eq!(late, Written::Stale, "a late owner does not take its answer for the recorded one");
    let given = StoredResponse {
        status: StatusCode::CREATED,
        headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        body: Some(Bytes::from_static(b"{\"id\": 1}")),
    };
    assert_eq!(store.claim(&claim("k")).await.unwrap().claimed, Claimed::Completed(given));
}
