//! The store's connections under load.

use std::time::{Duration, Instant};

use idem_core::{After, Claimed, Store, StoreError, Written};
use idem_sqlx::PostgresStore;
use idem_testkit::Harness;
use sqlx::{Connection, PgConnection};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    common::{LEASE, TTL, claim, is_won, response},
    database::Database,
};

/// Holds the lock of a row, so that claims which could win it wait.
struct Blocker(PgConnection);

impl Blocker {
    async fn of_a_failed_record(database: &Database, store: &PostgresStore) -> Self {
        let failed = claim("failed");
        assert!(is_won(&store.claim(&failed).await.unwrap()));
        assert_eq!(store.fail(&failed.owner, TTL).await.unwrap(), Written::Accepted);
        let mut blocker = Self(PgConnection::connect(&database.url).await.unwrap());
        blocker.execute("BEGIN; SELECT FROM idem WHERE key = 'failed' FOR UPDATE").await;
        blocker
    }

    async fn execute(&mut self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&mut self.0).await.unwrap();
    }
}

#[tokio::test]
async fn renewals_go_on_while_claims_use_up_all_connections() {
    let database = Database::fresh().await;
    let store = database.impatient_store().await;
    let running = claim("running");
    assert!(is_won(&store.claim(&running).await.unwrap()));
    let mut blocker = Blocker::of_a_failed_record(&database, &store).await;
    let mut stuck = JoinSet::new();
    for _ in 0..30 {
        let store = store.clone();
        stuck.spawn(async move { store.claim(&claim("failed")).await });
    }
    sleep(Duration::from_millis(300)).await;

    assert_eq!(store.renew(&running.owner, LEASE).await.unwrap(), Written::Accepted);

    let ends: Vec<_> = stuck.join_all().await;
    let out_of_time = |it: &Result<_, _>| {
        matches!(it, Err(StoreError::Unavailable(_) | StoreError::Unreachable(_)))
    };
    assert!(ends.iter().all(out_of_time), "{ends:?}");
    blocker.execute("COMMIT").await;
    assert!(is_won(&store.claim(&claim("failed")).await.unwrap()));
}

#[tokio::test]
async fn a_claim_that_had_to_wait_draws_its_fence_afterwards() {
    let database = Database::fresh().await;
    let store = database.store().await;
    let mut blocker = Blocker::of_a_failed_record(&database, &store).await;
    let waiting = tokio::spawn(async move { store.claim(&claim("failed")).await });
    sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    blocker.execute("UPDATE idem SET fence = 1000; SELECT setval('idem_fence', 1000)").await;
    blocker.execute("COMMIT").await;
    let claimed = waiting.await.unwrap().unwrap().claimed;
    assert!(matches!(claimed, Claimed::Won { fence, .. } if fence.get() > 1000), "{claimed:?}");
}

/// The record is another one than the statement saw when it began.
#[tokio::test]
async fn a_claim_that_waited_says_what_it_follows_in_the_end() {
    let database = Database::fresh().await;
    let store = database.store().await;
    let mut blocker = Blocker::of_a_failed_record(&database, &store).await;
    let waiting = tokio::spawn(async move { store.claim(&claim("failed")).await });
    sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    blocker.execute("UPDATE idem SET state = 1, lease_until = now() - interval '1 hour'").await;
    blocker.execute("COMMIT").await;
    let claimed = waiting.await.unwrap().unwrap().claimed;
    assert!(matches!(claimed, Claimed::Won { after: After::Lapse, .. }), "{claimed:?}");
}

#[tokio::test]
async fn a_claim_that_had_to_wait_has_its_whole_lease() {
    let database = Database::fresh().await;
    let store = database.store().await;
    let mut blocker = Blocker::of_a_failed_record(&database, &store).await;
    let waiting = tokio::spawn(async move { store.claim(&claim("failed")).await });
    sleep(Duration::from_millis(300)).await;
    blocker.execute("CREATE TABLE unblocked AS SELECT clock_timestamp() AS at; COMMIT").await;
    assert!(is_won(&waiting.await.unwrap().unwrap()));
    let whole = "SELECT count(*) FROM idem, unblocked WHERE lease_until >= at + interval '30 s'";
    assert_eq!(database.number(whole).await, 1);
}

#[tokio::test]
async fn claims_that_were_given_up_free_their_places_at_once() {
    let database = Database::fresh().await;
    let builder = PostgresStore::builder(database.url.parse().unwrap()).max_connections(2);
    let store = builder.connect().await.unwrap();
    let mut blocker = Blocker::of_a_failed_record(&database, &store).await;
    let (one, other) = (claim("failed"), claim("failed"));
    let given_up = timeout(Duration::from_millis(300), async {
        tokio::join!(store.claim(&one), store.claim(&other))
    });
    assert!(given_up.await.is_err());

    let asked = Instant::now();
    assert!(is_won(&store.claim(&claim("new")).await.unwrap()));
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    blocker.execute("COMMIT").await;
}

#[tokio::test]
async fn a_sweep_passes_over_rows_that_others_hold() {
    let database = Database::fresh().await;
    let store = database.store().await;
    let mut blocker = Blocker::of_a_failed_record(&database, &store).await;
    blocker.execute("COMMIT").await;
    store.claim(&claim("other")).await.unwrap();
    database.elapse(2 * TTL).await;
    blocker.execute("BEGIN; SELECT FROM idem WHERE key = 'failed' FOR UPDATE").await;
    assert_eq!(store.sweep(10).await.unwrap(), 1);
    blocker.execute("COMMIT").await;
    assert_eq!(store.sweep(10).await.unwrap(), 1);
}

#[tokio::test]
async fn the_server_ends_a_statement_that_takes_too_long() {
    let database = Database::fresh().await;
    let store = database.impatient_store().await;
    let mut blocker = Blocker::of_a_failed_record(&database, &store).await;
    let given_up = timeout(Duration::from_millis(300), async {
        store.claim(&claim("failed")).await.unwrap();
    });
    assert!(given_up.await.is_err());
    sleep(store.server_timeout().unwrap()).await;
    blocker.execute("COMMIT").await;
    sleep(Duration::from_millis(200)).await;
    assert_eq!(database.number("SELECT count(*) FROM idem WHERE state = 1").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn operations_that_are_dropped_anywhere_leave_no_connection_in_doubt() {
    const ROUNDS: u32 = 60;
    const EACH: u32 = 25;
    let database = Database::fresh().await;
    let store = database.store().await;
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let mut tasks = JoinSet::new();
        for number in 0..EACH {
            let store = store.clone();
            let patience = Duration::from_micros(u64::from((round * 37 + number * 101) % 4_000));
            tasks.spawn(async move {
                let claim = claim(&format!("{round}-{number}"));
                let dropped = timeout(patience, store.claim(&claim)).await.is_err();
                let again = store.claim(&claim).await.unwrap();
                assert!(is_won(&again), "{again:?}");
                let response = response("paid");
                let completing = store.complete(&claim.owner, &response, TTL);
                let _ = timeout(patience, completing).await;
                let written = store.complete(&claim.owner, &response, TTL).await.unwrap();
                assert_eq!(written, Written::Accepted);
                dropped
            });
        }
        let dropped = tasks.join_all().await.into_iter().filter(|it| *it).count();
        acknowledged += i64::from(EACH);
        let visible = database.number("SELECT count(*) FROM idem WHERE state = 2").await;
        assert_eq!(visible, acknowledged, "after round {round}, {dropped} claims dropped");
    }
}
