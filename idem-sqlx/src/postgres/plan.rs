//! How the server executes our statements: what only their plans can tell.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use idem_core::{
    Claim, FingerprintBuilder, IdempotencyKey, KeyFormat, Owner, RecordId, Recover, ScopeValue,
    Store, StoredResponse, Written,
};
use idem_testkit::PostgresServer;
use sqlx::{PgPool, Postgres};

use super::PostgresStore;
use crate::{
    sql::Statements,
    statement::{Parameters, Query, Statement},
};

const TTL: Duration = Duration::from_hours(1);

fn claim() -> Claim {
    let name = HeaderName::from_static("idempotency-key");
    let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("k"))]);
    let key = IdempotencyKey::from_headers(&headers, &name, KeyFormat::Any).unwrap().unwrap();
    Claim {
        owner: Owner::draw(RecordId::sent("POST /", &ScopeValue::global(), &key)),
        fingerprint: FingerprintBuilder::new(&Method::POST, "/").none(),
        recover: Recover::Retry,
        lease: Duration::from_secs(30),
        ttl: TTL,
    }
}

/// An empty table of either layout.
async fn stores() -> [PostgresStore; 2] {
    let server = PostgresServer::shared();
    let builder = || PostgresStore::builder(server.fresh_database().parse().unwrap());
    let stores =
        [builder().connect().await.unwrap(), builder().partitioned().connect().await.unwrap()];
    for store in &stores {
        store.migrate().await.unwrap();
    }
    stores
}

/// The server's account of a statement that it has executed.
async fn executed<'q>(
    store: &PostgresStore,
    statement: &Statement,
    bind: impl FnOnce(&Statement) -> Query<'q, Postgres, (String,)>,
) -> String {
    let sql = format!("EXPLAIN (ANALYZE, WAL, BUFFERS OFF) {}", statement.as_str());
    let statement = Statement::new(sql, Parameters::Numbered);
    let lines: Vec<(String,)> = store.main.fetch_once(bind(&statement)).await.unwrap();
    lines.into_iter().map(|(line,)| line + "\n").collect()
}

async fn claimed(store: &PostgresStore, claim: &Claim) -> String {
    executed(store, &store.claim, |sql| Statements::claim(sql, claim)).await
}

fn response() -> StoredResponse {
    StoredResponse {
        status: StatusCode::OK,
        headers: Vec::new(),
        body: Some(Bytes::from_static(b"done")),
    }
}

/// The partitions that a plan looks into.
fn partitions(plan: &str) -> HashSet<&str> {
    let words = plan.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named = words.filter_map(|word| word.strip_prefix("idem_p")?.split('_').next());
    named.filter(|it| it.parse::<u32>().is_ok()).collect()
}

#[tokio::test]
async fn a_replay_writes_no_wal_and_locks_no_row() {
    for store in stores().await {
        let first = claim();
        let won = claimed(&store, &first).await;
        assert!(won.contains("WAL: records="), "a claim that is won writes:\n{won}");

        let written = store.complete(&first.owner, &response(), TTL).await.unwrap();
        assert_eq!(written, Written::Accepted);
        // The first look at a page may tidy it up, which is logged.
        store.claim(&claim()).await.unwrap();

        let replay = claimed(&store, &claim()).await;
        assert!(replay.contains("Insert on idem"), "it is the whole statement:\n{replay}");
        assert!(!replay.contains("WAL"), "{replay}");
        assert!(!replay.contains("LockRows"), "{replay}");
    }
}

#[tokio::test]
async fn statements_about_a_record_look_into_one_partition() {
    let [_, store] = stores().await;
    let first = claim();
    let won = claimed(&store, &first).await;
    assert_eq!(partitions(&won).len(), 1, "{won}");

    let claim = claim();
    let looked = executed(&store, &store.look, |sql| {
        let fingerprint = claim.fingerprint.as_bytes();
        let query = sqlx::query_as(sql).bind(&claim.owner.id.digest()[..]);
        query.bind(claim.owner.attempt.as_uuid()).bind(&fingerprint[..])
    });
    let looked = looked.await;
    assert_eq!(partitions(&looked), partitions(&won), "{looked}");

    let id = &first.owner.id.digest()[..];
    let read = executed(&store, &store.statements.get, |sql| sqlx::query_as(sql).bind(id));
    let read = read.await;
    assert_eq!(partitions(&read), partitions(&won), "{read}");

    let response = response();
    let lines = response.header_lines();
    let ended = executed(&store, &store.statements.complete, |sql| {
        let query = sqlx::query_as(sql).bind(id).bind(first.owner.attempt.as_uuid());
        query.bind(200_i16).bind(&lines[..]).bind(response.body.as_deref()).bind(1_000_i64)
    });
    let ended = ended.await;
    assert_eq!(partitions(&ended), partitions(&won), "{ended}");
}

#[tokio::test]
async fn held_and_expired_records_are_found_by_an_index() {
    for store in stores().await {
        let pool = PgPool::connect_with(store.options.clone()).await.unwrap();
        let completed = "INSERT INTO idem
            SELECT sha256(i::text::bytea), 'POST /', 'global', i::text, 1, '', 2, false,
                gen_random_uuid(), i, 1, false, now(), now(),
                now() + (i - 1000) * interval '1 minute', 200, '', 'done'
            FROM generate_series(1, 50000) AS i";
        sqlx::raw_sql(completed).execute(&pool).await.unwrap();
        sqlx::raw_sql("ANALYZE idem").execute(&pool).await.unwrap();

        let held = executed(&store, &store.statements.held, |sql| {
            sqlx::query_as(sql).bind(i64::MIN).bind(100_i64)
        });
        let sweep = executed(&store, &store.sweep, |sql| sqlx::query_as(sql).bind(500_i64));
        for plan in [held.await, sweep.await] {
            assert!(plan.contains("expires_at"), "{plan}");
            assert!(!plan.contains("Seq Scan"), "{plan}");
        }
        let left: i64 =
            sqlx::query_scalar("SELECT count(*) FROM idem").fetch_one(&pool).await.unwrap();
        assert_eq!(left, 49_500);
    }
}
