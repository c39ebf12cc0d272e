//! The SQL that the README gives to operators.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use idem_core::{Claim, Claimed, Owner, Recover, Store, StoredResponse, Written};
use idem_sqlx::PostgresStore;
use idem_testkit::Harness;
use sqlx::Row;

use crate::{
    common::{LEASE, TTL, claim, is_won, response},
    database::Database,
};

/// The README's statements that begin with a word, for a record of this id.
fn statement(beginning: &str, id: &str) -> String {
    let readme = include_str!("../../../README.md");
    let blocks = readme.split("```sql\n").skip(1).map(|it| it.split("```").next().unwrap());
    let statements: Vec<_> = blocks.flat_map(|it| it.split(";\n")).map(str::trim).collect();
    let found = statements.into_iter().find(|it| it.starts_with(beginning));
    found.unwrap_or_else(|| panic!("no {beginning}")).replace("\\x…", id)
}

/// A record of which the outcome is unknown, and its id as the README's query shows it.
async fn held() -> (Database, impl Store, String, Owner) {
    let database = Database::fresh().await;
    let store = database.store().await;
    let first = Claim { recover: Recover::Hold, ..claim("k") };
    store.claim(&first).await.unwrap();
    assert_eq!(rows("SELECT id,", "", &database).await.len(), 0, "its lease lives");
    let running = rows("SELECT operation", "", &database).await;
    assert_eq!(running[0].get::<String, _>("key"), "k");
    database.elapse(LEASE + Duration::from_secs(1)).await;
    assert_eq!(store.claim(&claim("k")).await.unwrap().claimed, Claimed::Held);
    let found = rows("SELECT id,", "", &database).await;
    let digest: Vec<u8> = found[0].get("id");
    let id = digest.iter().fold("\\x".to_owned(), |hex, it| hex + &format!("{it:02x}"));
    (database, store, id, first.owner)
}

async fn rows(beginning: &str, id: &str, database: &Database) -> Vec<sqlx::postgres::PgRow> {
    let sql = sqlx::AssertSqlSafe(statement(beginning, id));
    sqlx::raw_sql(sql).fetch_all(&database.outside).await.unwrap()
}

#[tokio::test]
async fn a_held_record_that_is_forgotten_is_executed_again() {
    let (database, store, id, _) = held().await;
    rows("DELETE", &id, &database).await;
    assert!(is_won(&store.claim(&claim("k")).await.unwrap()));
    rows("DELETE", &id, &database).await;
    assert_eq!(
        store.claim(&claim("k")).await.unwrap().claimed,
        Claimed::InFlight,
        "only held ones go"
    );
}

#[tokio::test]
async fn a_held_record_that_is_given_an_answer_is_replayed() {
    let (database, store, id, owner) = held().await;
    rows("UPDATE", &id, &database).await;
    let given = StoredResponse {
        status: StatusCode::CREATED,
        headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        body: Some(Bytes::from_static(b"{\"id\": 1}")),
    };
    let late = store.complete(&owner, &response("late"), TTL).await.unwrap();
    assert_eq!(late, Written::Stale, "a late owner does not take its answer for the recorded one");
    assert_eq!(store.claim(&claim("k")).await.unwrap().claimed, Claimed::Completed(given));
}

/// The page on growing moves the tables into another schema.
#[tokio::test]
async fn the_tables_move_to_another_schema_in_one_transaction() {
    let database = Database::fresh().await;
    let before = database.store().await;
    let done = claim("k");
    assert!(is_won(&before.claim(&done).await.unwrap()));
    let written = before.complete(&done.owner, &response("paid"), TTL).await.unwrap();
    assert_eq!(written, Written::Accepted);

    let page = include_str!("../../../docs/scaling.md");
    let blocks = page.split("```sql\n").skip(1).map(|it| it.split("```").next().unwrap());
    let [fences, to_schema] = blocks.collect::<Vec<_>>()[..] else { panic!("two blocks") };
    database.execute("CREATE SCHEMA payments").await;
    database.execute(to_schema).await;
    assert!(before.claim(&claim("new")).await.is_err(), "who was not replaced is refused");

    let builder = PostgresStore::builder(database.url.parse().unwrap()).schema("payments");
    let after = builder.connect().await.unwrap();
    after.migrate().await.unwrap();
    let claimed = after.claim(&claim("k")).await.unwrap().claimed;
    assert_eq!(claimed, Claimed::Completed(response("paid")));
    let raise = format!("SET search_path TO payments; {fences}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(raise)).execute(&database.outside).await.unwrap();
    let claimed = after.claim(&claim("new")).await.unwrap().claimed;
    assert!(matches!(claimed, Claimed::Won { fence, .. } if fence.get() > 1_000_000));
}
