//! Executions without a transaction that meet one with a transaction, for the same record.

use axum::{Extension, Router, extract::State, http::StatusCode, routing::post};
use idem::{Attempt, Tx, idempotent};
use sqlx::Postgres;
use tokio::task::JoinHandle;

use crate::support::{
    Answer, Hold, Runs, Service, on_each_database, patiently,
    postgres::{other_process, service},
};

#[idempotent(scope = "global", operation = "pay")]
async fn in_transaction(
    State(runs): State<Runs>,
    Extension(hold): Extension<Hold>,
    attempt: Attempt,
    mut tx: Tx<Postgres>,
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
        "fails" => (StatusCode::INTERNAL_SERVER_ERROR, "no".into()),
        "waits" => {
            hold.here().await;
            (StatusCode::OK, "leased".into())
        }
        _ => (StatusCode::OK, "leased".into()),
    }
}

/// A request that is in its transaction, and another process with handlers of the other kind.
struct Race {
    one: Service<Postgres>,
    other: Service<Postgres>,
    router: Router<Service<Postgres>>,
    leased: Router<Service<Postgres>>,
    hold: Hold,
    leased_hold: Hold,
    body: &'static str,
    first: JoinHandle<Answer>,
}

impl Race {
    async fn begin(body: &'static str) -> Self {
        let one = service().await;
        let other = other_process(&one).await;
        let (hold, leased_hold) = (Hold::new(), Hold::new());
        let router =
            Router::new().route("/notes", post(in_transaction)).layer(Extension(hold.clone()));
        let leased =
            Router::new().route("/notes", post(leased)).layer(Extension(leased_hold.clone()));
        let first = tokio::spawn({
            let (one, router) = (one.clone(), router.clone());
            async move { one.post(&router, "k", body).await }
        });
        hold.arrival().await;
        Self { one, other, router, leased, hold, leased_hold, body, first }
    }

    async fn leased(&self, body: &'static str) -> Answer {
        patiently(self.other.post(&self.leased, "k", body)).await
    }

    async fn lapse(&self) {
        let sql = "UPDATE idem SET lease_until = now() - interval '1 h'";
        sqlx::query(sql).execute(&self.one.pool).await.unwrap();
    }

    /// Lets the transaction end, and returns its answer. Nothing of it may be there.
    async fn end(&mut self) -> Answer {
        self.hold.release();
        let answer = patiently(&mut self.first).await.unwrap();
        assert!(self.one.notes().await.is_empty());
        assert_eq!((self.one.records().await, self.one.runs.so_far()), (1, 1));
        answer
    }

    /// Sends the request once more: nobody is in the way.
    async fn retry(&self) -> Answer {
        self.one.post(&self.router, "k", self.body).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_completed_meanwhile_is_the_answer() {
    let mut race = Race::begin("completes").await;
    assert_eq!(race.leased("completes").await.body, "leased");
    let answer = race.end().await;
    assert!(answer.is_replay());
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "leased"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_another_request_completed_meanwhile_is_a_mismatch() {
    let mut race = Race::begin("one").await;
    assert_eq!(race.leased("another").await.body, "leased");
    assert_eq!(race.end().await.problem(), "mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_claimed_meanwhile_is_not_overwritten() {
    let mut race = Race::begin("waits").await;
    let leased = tokio::spawn({
        let (other, router) = (race.other.clone(), race.leased.clone());
        async move { other.post(&router, "k", "waits").await }
    });
    race.leased_hold.arrival().await;
    let answer = race.end().await;
    assert_eq!((answer.status, &*answer.problem()), (StatusCode::CONFLICT, "in-flight"));
    race.leased_hold.release();
    assert_eq!(leased.await.unwrap().body, "leased");
    assert_eq!(race.retry().await.body, "leased");
}

/// It may have had effects since, which the transaction has not seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_claimed_meanwhile_and_lapsed_is_not_overwritten() {
    let mut race = Race::begin("waits").await;
    let leased = tokio::spawn({
        let (other, router) = (race.other.clone(), race.leased.clone());
        async move { other.post(&router, "k", "waits").await }
    });
    race.leased_hold.arrival().await;
    race.lapse().await;
    let answer = race.end().await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.problem(), "transaction-conflict");
    assert_eq!(race.retry().await.body, "in transaction, number 2");
    // Who was cut off finds out when it comes to its end.
    race.leased_hold.release();
    leased.await.unwrap();
    assert_eq!(race.retry().await.body, "in transaction, number 2");
    assert_eq!(race.one.notes().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_an_execution_that_failed_meanwhile_is_not_overwritten() {
    let mut race = Race::begin("fails").await;
    assert_eq!(race.leased("fails").await.body, "no");
    let answer = race.end().await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.problem(), "transaction-conflict");
    assert!(answer.is_transient());
    assert_eq!(race.retry().await.body, "in transaction, number 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_an_execution_that_was_taken_back_meanwhile_is_no_obstacle() {
    let mut race = Race::begin("waits").await;
    assert_eq!(race.leased("another").await.body, "leased");
    sqlx::query("DELETE FROM idem").execute(&race.one.pool).await.unwrap();
    race.hold.release();
    assert_eq!((&mut race.first).await.unwrap().status, StatusCode::CREATED);
    assert_eq!(race.one.notes().await.len(), 1);
}

/// Refused at the beginning, by what is there.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_executed_without_a_transaction_is_in_flight_for_those_with_one() {
    let one = service().await;
    let other = other_process(&one).await;
    let hold = Hold::new();
    let router = Router::new().route("/notes", post(in_transaction)).layer(Extension(Hold::new()));
    let leased = Router::new().route("/notes", post(leased)).layer(Extension(hold.clone()));
    let first = tokio::spawn({
        let other = other.clone();
        async move { other.post(&leased, "k", "waits").await }
    });
    hold.arrival().await;
    let duplicate = patiently(one.post(&router, "k", "waits")).await;
    assert_eq!((duplicate.status, &*duplicate.problem()), (StatusCode::CONFLICT, "in-flight"));
    hold.release();
    assert_eq!(first.await.unwrap().body, "leased");
    assert_eq!(one.post(&router, "k", "waits").await.body, "leased");
    assert_eq!(one.runs.so_far(), 0);
}

on_each_database! {
    #[idempotent(scope = "global", ttl = "1h")]
    async fn expiring(State(runs): State<Runs>, mut tx: Tx<Db>) -> (StatusCode, String) {
        let run = runs.count();
        sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
        (StatusCode::CREATED, format!("run {run}"))
    }

    #[tokio::test]
    async fn a_record_whose_time_is_over_is_overwritten() {
        let service = service().await;
        let router = Router::new().route("/notes", post(expiring));
        assert_eq!(service.send(&router, "k").await.body, "run 1");
        assert!(service.send(&router, "k").await.is_replay());
        service.elapse_hours(2).await;
        let again = service.send(&router, "k").await;
        assert!(!again.is_replay());
        assert_eq!(again.body, "run 2");
        assert_eq!((service.notes().await.len(), service.records().await), (2, 1));
        let replay = service.send(&router, "k").await;
        assert!(replay.is_replay());
        assert_eq!(replay.body, "run 2");
    }

    #[idempotent(scope = "global", ttl = "forever")]
    async fn kept_forever(State(runs): State<Runs>, mut tx: Tx<Db>) -> String {
        sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
        format!("run {}", runs.count())
    }

    #[tokio::test]
    async fn what_is_kept_forever_is_replayed_for_100_years() {
        let service = service().await;
        let router = Router::new().route("/notes", post(kept_forever));
        assert_eq!(service.send(&router, "k").await.body, "run 1");
        service.elapse_hours(99 * 365 * 24).await;
        assert!(service.send(&router, "k").await.is_replay());
        service.elapse_hours(365 * 24).await;
        assert_eq!(service.send(&router, "k").await.body, "run 2");
    }
}

impl Service<Postgres> {
    async fn elapse_hours(&self, hours: i32) {
        let sql = "UPDATE idem SET created_at = created_at - $1 * interval '1 h',
            lease_until = lease_until - $1 * interval '1 h',
            expires_at = expires_at - $1 * interval '1 h'";
        sqlx::query(sql).bind(hours).execute(&self.pool).await.unwrap();
    }
}

impl Service<sqlx::MySql> {
    async fn elapse_hours(&self, hours: i32) {
        let sql = "UPDATE idem SET created_at = created_at - INTERVAL ? HOUR,
            lease_until = lease_until - INTERVAL ? HOUR, expires_at = expires_at - INTERVAL ? HOUR";
        sqlx::query(sql).bind(hours).bind(hours).bind(hours).execute(&self.pool).await.unwrap();
    }
}

impl Service<sqlx::Sqlite> {
    async fn elapse_hours(&self, hours: i32) {
        let pool = sqlx::SqlitePool::connect_with(
            sqlx::sqlite::SqliteConnectOptions::new()
                .filename(crate::support::sqlite::path_of(self)),
        );
        let sql = "UPDATE idem SET created_at = created_at - $1 * 3600000,
            lease_until = lease_until - $1 * 3600000, expires_at = expires_at - $1 * 3600000";
        sqlx::query(sql).bind(hours).execute(&pool.await.unwrap()).await.unwrap();
    }
}
