//! How the server executes our statements: what only their plans can tell.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use idem_core::{
    Claim, FingerprintBuilder, IdempotencyKey, KeyFormat, Owner, RecordId, Recover, ScopeValue,
    Store, StoredResponse, Written,
};
use idem_testkit::PostgresServer;
use sqlx::PgPool;

use super::PostgresStore;
use crate::{dialect::trusted, sql::Statements};

fn claim() -> Claim {
    let name = HeaderName::from_static("idempotency-key");
    let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("k"))]);
    let key = IdempotencyKey::from_headers(&headers, &name, KeyFormat::Any).unwrap().unwrap();
    Claim {
        owner: Owner::draw(RecordId::sent("POST /", &ScopeValue::global(), &key)),
        fingerprint: FingerprintBuilder::new(&Method::POST, "/").none(),
        recover: Recover::Retry,
        lease: Duration::from_secs(30),
        ttl: Duration::from_hours(1),
    }
}

/// Executes a claim and returns the server's account of it.
async fn explain(store: &PostgresStore, claim: &Claim) -> String {
    let sql = format!("EXPLAIN (ANALYZE, WAL, BUFFERS OFF) {}", store.claim.as_str());
    let query = Statements::claim(&trusted(sql), claim);
    let lines: Vec<(String,)> = store.main.fetch_once(query).await.unwrap();
    lines.into_iter().map(|(line,)| line + "\n").collect()
}

/// The server's plan for a listing of held records.
async fn explain_held(store: &PostgresStore) -> String {
    let sql = format!("EXPLAIN {}", store.statements.held.as_str());
    let query = sqlx::query_as(trusted(sql)).bind(i64::MIN).bind(100_i64);
    let lines: Vec<(String,)> = store.main.fetch_once(query).await.unwrap();
    lines.into_iter().map(|(line,)| line + "\n").collect()
}

#[tokio::test]
async fn a_replay_writes_no_wal_and_locks_no_row() {
    let url = PostgresServer::shared().fresh_database();
    let store = PostgresStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();

    let first = claim();
    let won = explain(&store, &first).await;
    assert!(won.contains("WAL: records="), "a claim that is won writes:\n{won}");

    let response = StoredResponse {
        status: StatusCode::OK,
        headers: Vec::new(),
        body: Some(Bytes::from_static(b"done")),
    };
    let written = store.complete(&first.owner, &response, Duration::from_hours(1)).await.unwrap();
    assert_eq!(written, Written::Accepted);
    // The first look at a page may tidy it up, which is logged.
    store.claim(&claim()).await.unwrap();

    let replay = explain(&store, &claim()).await;
    assert!(replay.contains("Insert on idem"), "it is the whole statement:\n{replay}");
    assert!(!replay.contains("WAL"), "{replay}");
    assert!(!replay.contains("LockRows"), "{replay}");
}

#[tokio::test]
async fn held_records_are_found_by_an_index() {
    let url = PostgresServer::shared().fresh_database();
    let store = PostgresStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let completed = "INSERT INTO idem
        SELECT sha256(i::text::bytea), 'POST /', 'global', i::text, 1, '', 2, false,
            gen_random_uuid(), i, 1, false, now(), now(), now() + interval '1 day', 200, '', 'done'
        FROM generate_series(1, 20000) AS i";
    let pool = PgPool::connect(&url).await.unwrap();
    sqlx::raw_sql(completed).execute(&pool).await.unwrap();
    sqlx::raw_sql("ANALYZE idem").execute(&pool).await.unwrap();
    let plan = explain_held(&store).await;
    assert!(plan.contains("idem_expires_at"), "{plan}");
    assert!(!plan.contains("Seq Scan"), "{plan}");
}
