//! How the server executes the claim: what only its plan can tell.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use idem_core::{
    Claim, FingerprintBuilder, IdempotencyKey, KeyFormat, Owner, RecordId, Recover, ScopeValue,
    Store, StoredResponse, Written,
};
use idem_testkit::PostgresServer;

use super::PostgresStore;
use crate::sql::{Statements, trusted};

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
