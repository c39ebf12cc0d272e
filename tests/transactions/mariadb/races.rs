//! Executions without a transaction that meet one with a transaction, for the same record.

use axum::{Extension, Router, extract::State, http::StatusCode, routing::post};
use idem::{Attempt, MySqlStore, Store, Tx, idempotent};
use sqlx::MySql;

use crate::support::{
    Hold, Runs, Service,
    mariadb::{other_process, service},
    patiently,
};

#[idempotent(scope = "global", operation = "pay")]
async fn in_transaction(
    State(runs): State<Runs>,
    Extension(hold): Extension<Hold>,
    attempt: Attempt,
    mut tx: Tx<MySql>,
) -> (StatusCode, String) {
    let run = runs.count();
    sqlx::query("INSERT INTO notes VALUES ('in transaction')").execute(&mut *tx).await.unwrap();
    if run == 1 {
        hold.here().await;
    }
    (StatusCode::CREATED, format!("in transaction, number {}", attempt.number()))
}

/// With a lease that nobody renews while a test runs.
#[idempotent(scope = "global", operation = "pay", lease = "3h")]
async fn leased(Extension(hold): Extension<Hold>, body: String) -> (StatusCode, String) {
    match body.as_str() {
        "fails" => return (StatusCode::INTERNAL_SERVER_ERROR, "no".into()),
        "waits" => hold.here().await,
        _ => {}
    }
    (StatusCode::OK, "leased".into())
}

struct Race {
    one: Service<MySql>,
    other: Service<MySql>,
    router: Router<Service<MySql>>,
    leased: Router<Service<MySql>>,
    hold: Hold,
    leased_hold: Hold,
}

impl Race {
    async fn new() -> Self {
        let one = service().await;
        let other = other_process(&one).await;
        let (hold, leased_hold) = (Hold::new(), Hold::new());
        let router = Router::new().route("/notes", post(in_transaction));
        let router = router.layer(Extension(hold.clone()));
        let leased = Router::new().route("/notes", post(leased));
        let leased = leased.layer(Extension(leased_hold.clone()));
        Self { one, other, router, leased, hold, leased_hold }
    }

    async fn lapse(&self) {
        let sql = "UPDATE idem SET lease_until = UTC_TIMESTAMP(6) - INTERVAL 1 HOUR";
        sqlx::query(sql).execute(&self.one.pool).await.unwrap();
    }
}

/// The record is locked, and a transaction sees nobody in between.
#[tokio::test(flavor = "multi_thread")]
async fn what_runs_in_a_transaction_is_in_flight_for_those_without_one() {
    let race = Race::new().await;
    let first = race.one.sending(&race.router, "k");
    race.hold.arrival().await;
    let duplicate = patiently(race.other.send(&race.leased, "k")).await;
    assert_eq!((duplicate.status, &*duplicate.problem()), (StatusCode::CONFLICT, "in-flight"));
    assert!(duplicate.is_transient());
    assert!(!first.is_finished());
    race.hold.release();
    assert_eq!(first.await.unwrap().body, "in transaction, number 1");
    let replay = race.other.send(&race.leased, "k").await;
    assert!(replay.is_replay());
    assert_eq!(replay.body, "in transaction, number 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_without_a_transaction_is_in_flight_for_those_with_one() {
    let race = Race::new().await;
    let (other, leased) = (race.other.clone(), race.leased.clone());
    let first = tokio::spawn(async move { other.post(&leased, "k", "waits").await });
    race.leased_hold.arrival().await;
    let duplicate = patiently(race.one.post(&race.router, "k", "waits")).await;
    assert_eq!((duplicate.status, &*duplicate.problem()), (StatusCode::CONFLICT, "in-flight"));
    race.leased_hold.release();
    assert_eq!(first.await.unwrap().body, "leased");
    assert_eq!(race.one.post(&race.router, "k", "waits").await.body, "leased");
    assert_eq!(race.one.runs.so_far(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_without_a_transaction_is_executed_in_one() {
    let race = Race::new().await;
    assert_eq!(race.other.post(&race.leased, "k", "fails").await.body, "no");
    race.hold.release();
    let answer = race.one.post(&race.router, "k", "fails").await;
    assert_eq!(answer.body, "in transaction, number 2");
    assert!(race.other.post(&race.leased, "k", "fails").await.is_replay());
    assert_eq!(race.one.notes().await.len(), 1);
}

/// Whoever was cut off, and is only late, comes to its end while the transaction runs, or after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_owner_does_not_write_over_a_transaction_that_has_taken_over() {
    let race = Race::new().await;
    let (other, leased) = (race.other.clone(), race.leased.clone());
    let late = tokio::spawn(async move { other.post(&leased, "k", "waits").await });
    race.leased_hold.arrival().await;
    race.lapse().await;
    let (one, router) = (race.one.clone(), race.router.clone());
    let first = tokio::spawn(async move { one.post(&router, "k", "waits").await });
    race.hold.arrival().await;
    race.leased_hold.release();
    race.hold.release();
    assert_eq!(patiently(first).await.unwrap().body, "in transaction, number 2");
    patiently(late).await.unwrap();
    let replay = race.one.post(&race.router, "k", "waits").await;
    assert!(replay.is_replay());
    assert_eq!(replay.body, "in transaction, number 2");
    assert_eq!(race.one.notes().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_in_another_process_is_refused_without_waiting_for_the_first() {
    let race = Race::new().await;
    let first = race.one.sending(&race.router, "k");
    race.hold.arrival().await;
    for _ in 0..10 {
        let duplicate = patiently(race.other.send(&race.router, "k")).await;
        assert_eq!((duplicate.status, &*duplicate.problem()), (StatusCode::CONFLICT, "in-flight"));
    }
    assert!(!first.is_finished());
    race.hold.release();
    assert_eq!(first.await.unwrap().body, "in transaction, number 1");
    assert!(race.other.send(&race.router, "k").await.is_replay());
    assert_eq!((race.one.notes().await.len(), race.one.runs.so_far()), (1, 1));
}

/// A sweep leaves alone what somebody is at.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_passes_over_a_record_that_a_transaction_has_taken() {
    let race = Race::new().await;
    race.hold.release();
    assert_eq!(race.one.send(&race.router, "expired").await.status, StatusCode::CREATED);
    race.hold.arrival().await;
    let expire = "UPDATE idem SET expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND";
    sqlx::query(expire).execute(&race.one.pool).await.unwrap();
    #[idempotent(scope = "global", operation = "pay")]
    async fn again(Extension(hold): Extension<Hold>, mut tx: Tx<MySql>) -> StatusCode {
        sqlx::query("INSERT INTO notes VALUES ('again')").execute(&mut *tx).await.unwrap();
        hold.here().await;
        StatusCode::CREATED
    }
    let hold = Hold::new();
    let router = Router::new().route("/notes", post(again)).layer(Extension(hold.clone()));
    let running = race.one.sending(&router, "expired");
    hold.arrival().await;
    let store = MySqlStore::beside(&race.other.pool).connect().await.unwrap();
    assert_eq!(patiently(store.sweep(10)).await.unwrap(), 0);
    hold.release();
    assert_eq!(running.await.unwrap().status, StatusCode::CREATED);
    assert_eq!(race.one.records().await, 1);
}
