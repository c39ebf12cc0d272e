//! Many claimers of one file, in this process and in others.

use std::time::{Duration, Instant};

use idem_core::{Claimed, Judged, Store, StoreError, Written};
use idem_sqlx::SqliteStore;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    common::{LEASE, TTL, claim, is_won, response},
    file::File,
};

/// All at once, alternating between the stores: the verdicts.
async fn race(stores: &[SqliteStore], keys: impl Iterator<Item = String>) -> Vec<Judged> {
    let mut tasks = JoinSet::new();
    for (store, key) in stores.iter().cycle().zip(keys) {
        let store = store.clone();
        tasks.spawn(async move { store.claim(&claim(&key)).await.unwrap() });
    }
    tasks.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_claims_of_different_keys_all_win() {
    let file = File::fresh().await;
    let claimed = race(&[file.store().await], (0..200).map(|it| it.to_string())).await;
    assert!(claimed.iter().all(is_won), "{claimed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_two_hundred_claims_of_one_key_wins() {
    let file = File::fresh().await;
    let claimed = race(&[file.store().await], std::iter::repeat_n("k".to_owned(), 200)).await;
    assert_eq!(claimed.iter().filter(|it| is_won(it)).count(), 1);
    assert_eq!(claimed.iter().filter(|it| it.claimed == Claimed::InFlight).count(), 199);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_claim_wins_a_key_over_two_processes() {
    let file = File::fresh().await;
    let stores = [file.store().await, file.store().await];
    for round in 0..20 {
        let claimed = race(&stores, std::iter::repeat_n(round.to_string(), 40)).await;
        assert_eq!(claimed.iter().filter(|it| is_won(it)).count(), 1, "round {round}");
    }
    let claimed = race(&stores, (0..200).map(|it| format!("distinct {it}"))).await;
    assert!(claimed.iter().all(is_won), "{claimed:?}");
    let fences = file.number("SELECT count(DISTINCT fence) FROM idem").await;
    assert_eq!(fences, 220);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_requests_beside_writes_of_the_application_see_no_busy_file() {
    let file = File::fresh().await;
    let store = file.store().await;
    file.execute("CREATE TABLE payments (request INTEGER)").await;
    let mut tasks = JoinSet::new();
    for request in 0..200 {
        let store = store.clone();
        tasks.spawn(async move {
            let claim = claim(&request.to_string());
            assert!(is_won(&store.claim(&claim).await.unwrap()));
            let mut transaction = store.writer().begin().await.unwrap();
            sqlx::query("INSERT INTO payments (request) VALUES ($1)")
                .bind(request)
                .execute(&mut *transaction)
                .await
                .unwrap();
            transaction.commit().await.unwrap();
            assert_eq!(store.renew(&claim.owner, LEASE).await.unwrap(), Written::Accepted);
            let written = store.complete(&claim.owner, &response("paid"), TTL).await.unwrap();
            assert_eq!(written, Written::Accepted);
        });
    }
    tasks.join_all().await;
    assert_eq!(file.number("SELECT count(*) FROM payments").await, 200);
    assert_eq!(file.number("SELECT count(*) FROM idem WHERE state = 2").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn operations_that_are_dropped_anywhere_leave_no_connection_in_doubt() {
    const ROUNDS: u32 = 40;
    const EACH: u32 = 25;
    let file = File::fresh().await;
    let store = file.store().await;
    for round in 0..ROUNDS {
        let mut tasks = JoinSet::new();
        for number in 0..EACH {
            let store = store.clone();
            let patience = Duration::from_micros(u64::from((round * 37 + number * 101) % 4_000));
            tasks.spawn(async move {
                let claim = claim(&format!("{round}-{number}"));
                let _ = timeout(patience, store.claim(&claim)).await;
                let again = store.claim(&claim).await.unwrap();
                assert!(is_won(&again), "{again:?}");
                let response = response("paid");
                let _ = timeout(patience, store.complete(&claim.owner, &response, TTL)).await;
                let written = store.complete(&claim.owner, &response, TTL).await.unwrap();
                assert_eq!(written, Written::Accepted);
            });
        }
        tasks.join_all().await;
        let visible = file.number("SELECT count(*) FROM idem WHERE state = 2").await;
        assert_eq!(visible, i64::from((round + 1) * EACH), "after round {round}");
    }
    let drawn = file.number("SELECT last FROM idem_fence").await;
    assert_eq!(file.number("SELECT max(fence) FROM idem").await, drawn);
}

#[tokio::test]
async fn a_claim_waits_for_another_process_that_writes() {
    let file = File::fresh().await;
    let store = file.store().await;
    let other = file.outside.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let claiming = tokio::spawn(async move { store.claim(&claim("k")).await });
    sleep(Duration::from_millis(300)).await;
    assert!(!claiming.is_finished());
    other.rollback().await.unwrap();
    assert!(is_won(&claiming.await.unwrap().unwrap()));
}

#[tokio::test]
async fn a_claim_that_waits_too_long_is_an_error_and_replays_go_on() {
    let file = File::fresh().await;
    let store = SqliteStore::builder(file.path().to_str().unwrap().parse().unwrap())
        .busy_timeout(Duration::from_millis(300))
        .open()
        .await
        .unwrap();
    let first = claim("done");
    store.claim(&first).await.unwrap();
    let _ = store.complete(&first.owner, &response("paid"), TTL).await.unwrap();

    let other = file.outside.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let asked = Instant::now();
    let error = store.claim(&claim("new")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(
        store.claim(&claim("done")).await.unwrap().claimed,
        Claimed::Completed(response("paid"))
    );
    other.rollback().await.unwrap();
    assert!(is_won(&store.claim(&claim("new")).await.unwrap()));
}
