//! What claims on Postgres cost while a backlog of expired records is swept, and while none is.
//!
//! ```console
//! $ cargo bench -p idem-sqlx --bench sweeping
//! ```
//!
//! Turns of the three alternate, so that what else the machine does meets all of them: nothing is
//! swept; the engine sweeps; and, for comparison, a loop deletes batches of 500 without a pause.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it talks to its user")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, Method, StatusCode};
use idem_core::{
    Claim, FingerprintBuilder, Idem, IdempotencyKey, KeyFormat, Owner, RecordId, Recover,
    ScopeValue, Store, StoredResponse,
};
use idem_sqlx::PostgresStore;
use idem_testkit::PostgresServer;
use sqlx::PgPool;
use tokio::{task::JoinSet, time::sleep};

const CLIENTS: usize = 4;
const TURNS: usize = 4;
const TURN: Duration = Duration::from_secs(10);

/// Enough that no turn comes to the end of it.
const EXPIRED: u64 = 1_500_000;

const TTL: Duration = Duration::from_hours(24);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Swept {
    Not,
    ByTheEngine,
    WithoutPause,
}

#[tokio::main]
async fn main() {
    let server = PostgresServer::start();
    let url = server.fresh_database();
    let pool = PgPool::connect(&url).await.unwrap();
    let store = PostgresStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    fill(&pool).await;

    let mut latencies =
        [(Swept::Not, vec![]), (Swept::ByTheEngine, vec![]), (Swept::WithoutPause, vec![])];
    for turn in 0..TURNS {
        for (swept, latencies) in &mut latencies {
            let before = expired(&pool).await;
            latencies.extend(self::turn(&store, *swept).await);
            let deleted = before - expired(&pool).await;
            println!("turn {turn}, swept {swept:?}: {deleted} records in {TURN:?}");
        }
    }
    println!("\n| swept | claims | median | p99 |\n|---|---|---|---|");
    for (swept, mut latencies) in latencies {
        latencies.sort_unstable();
        let at = |share: usize| latencies[latencies.len() * share / 100];
        println!("| {swept:?} | {} | {:?} | {:?} |", latencies.len(), at(50), at(99));
    }
}

/// As many as a busy service leaves behind in a day, with answers as they are.
async fn fill(pool: &PgPool) {
    let rows = |from: u64, to: u64, expiry: &str| {
        format!(
            "INSERT INTO idem
            SELECT sha256(i::text::bytea), 'POST /payments', 'user ' || i % 1000, i::text, 1,
                sha256(i::text::bytea), 2, false, gen_random_uuid(), i, 1, false, now(), now(),
                {expiry}, 201, 'content-type: application/json', sha512(i::text::bytea)
            FROM generate_series({from}, {to}) AS i"
        )
    };
    let expired = rows(1, EXPIRED, "now() - random() * interval '1 day'");
    let kept = rows(EXPIRED + 1, EXPIRED + 200_000, "now() + interval '1 day'");
    for sql in [expired, kept, "VACUUM ANALYZE idem".to_owned()] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(pool).await.unwrap();
    }
}

async fn expired(pool: &PgPool) -> i64 {
    let sql = "SELECT count(*) FROM idem WHERE expires_at <= now()";
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

/// How long each claim took.
async fn turn(store: &PostgresStore, swept: Swept) -> Vec<Duration> {
    let is_over = Arc::new(AtomicBool::new(false));
    let idem = Idem::builder(store.clone()).build().unwrap();
    let mut sweeper = JoinSet::new();
    match swept {
        Swept::Not => {}
        Swept::ByTheEngine => idem.spawn_sweeper(Duration::from_secs(1)),
        Swept::WithoutPause => {
            let (store, is_over) = (store.clone(), Arc::clone(&is_over));
            sweeper.spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    store.sweep(500).await.unwrap();
                }
            });
        }
    }
    // The engine begins after a second.
    sleep(Duration::from_secs(2)).await;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(store.clone(), Arc::clone(&is_over)));
    }
    sleep(TURN).await;
    is_over.store(true, Ordering::Relaxed);
    let latencies = clients.join_all().await.concat();
    sweeper.join_all().await;
    idem.drain().await;
    latencies
}

async fn client(store: PostgresStore, is_over: Arc<AtomicBool>) -> Vec<Duration> {
    let mut latencies = Vec::new();
    let response = StoredResponse {
        status: StatusCode::CREATED,
        headers: Vec::new(),
        body: Some("{\"id\": 1}".into()),
    };
    while !is_over.load(Ordering::Relaxed) {
        let claim = next_claim();
        let begun = Instant::now();
        store.claim(&claim).await.unwrap();
        latencies.push(begun.elapsed());
        let _ = store.complete(&claim.owner, &response, TTL).await.unwrap();
        sleep(Duration::from_millis(5)).await;
    }
    latencies
}

/// Of a key that nobody has used.
fn next_claim() -> Claim {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = HeaderName::from_static("idempotency-key");
    let key = NEXT.fetch_add(1, Ordering::Relaxed).into();
    let headers = HeaderMap::from_iter([(name.clone(), key)]);
    let key = IdempotencyKey::from_headers(&headers, &name, KeyFormat::Any).unwrap().unwrap();
    Claim {
        owner: Owner::draw(RecordId::sent("POST /payments", &ScopeValue::global(), &key)),
        fingerprint: FingerprintBuilder::new(&Method::POST, "/payments").none(),
        recover: Recover::Retry,
        lease: Duration::from_secs(30),
        ttl: TTL,
    }
}
