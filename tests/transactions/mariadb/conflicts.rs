//! Transactions that meet, so that one of them has to go.

use axum::{
    Extension, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use idem::{TransactionConflict, Tx, idempotent, is_conflict};
use sqlx::MySql;

use crate::support::{Answer, Hold, Runs, Service, mariadb::service, patiently};

/// Of an error, whether it is a conflict; how it is answered.
struct Failure(sqlx::Error);

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        if is_conflict(&self.0) {
            response.extensions_mut().insert(TransactionConflict);
        }
        response
    }
}

/// Locks its own row first and then the other's. The first two runs wait for each other.
async fn cross(tx: &mut Tx<MySql>, run: u32, hold: &Hold, who: &str) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO notes VALUES (?)").bind(who).execute(&mut **tx).await?;
    let own = "SELECT who FROM duties WHERE who = ? FOR UPDATE";
    sqlx::query(own).bind(who).fetch_all(&mut **tx).await?;
    if run <= 2 {
        hold.here().await;
    }
    let other = if who == "ann" { "bob" } else { "ann" };
    sqlx::query(own).bind(other).fetch_all(&mut **tx).await?;
    Ok(())
}

macro_rules! crosses {
    ($($name:ident [$($option:tt)*];)*) => {$(
        #[idempotent(scope = "global", $($option)*)]
        async fn $name(
            State(runs): State<Runs>,
            Extension(hold): Extension<Hold>,
            mut tx: Tx<MySql>,
            who: String,
        ) -> Result<(StatusCode, String), Failure> {
            cross(&mut tx, runs.count(), &hold, &who).await?;
            Ok((StatusCode::CREATED, who))
        }
    )*};
}
crosses! {
    once [];
    repeated [retries = 3];
}

/// Passes over the deadlock, goes on writing, and answers with a success.
#[idempotent(scope = "global")]
async fn passes_over(
    State(runs): State<Runs>,
    Extension(hold): Extension<Hold>,
    mut tx: Tx<MySql>,
    who: String,
) -> (StatusCode, String) {
    let _ = cross(&mut tx, runs.count(), &hold, &who).await;
    // The server has rolled back, and would commit this at once.
    let insert = sqlx::query("INSERT INTO notes VALUES ('afterwards')");
    let _ = insert.execute(&mut *tx).await;
    (StatusCode::CREATED, who)
}

/// Two requests that lock each other out.
async fn meet(
    handler: axum::routing::MethodRouter<Service<MySql>>,
) -> (Service<MySql>, Router<Service<MySql>>, Vec<(&'static str, Answer)>) {
    let service = service().await;
    let duties = "CREATE TABLE duties (who varchar(10) PRIMARY KEY);
        INSERT INTO duties VALUES ('ann'), ('bob')";
    sqlx::raw_sql(duties).execute(&service.pool).await.unwrap();
    let hold = Hold::new();
    let router = Router::new().route("/notes", handler).layer(Extension(hold.clone()));
    let both = ["ann", "bob"].map(|who| {
        let (service, router) = (service.clone(), router.clone());
        (who, tokio::spawn(async move { service.post(&router, who, who).await }))
    });
    for _ in &both {
        hold.arrival().await;
    }
    for _ in &both {
        hold.release();
    }
    let mut answers = Vec::new();
    for (who, sent) in both {
        answers.push((who, patiently(sent).await.unwrap()));
    }
    (service, router, answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_lock_each_other_out_one_is_rolled_back_and_may_retry() {
    let (service, router, answers) = meet(post(once)).await;
    let failed: Vec<_> =
        answers.iter().filter(|(_, answer)| answer.status != StatusCode::CREATED).collect();
    let [(who, answer)] = failed[..] else { panic!("{answers:?}") };
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.problem(), "transaction-conflict");
    assert!(answer.is_transient());
    assert_eq!((service.notes().await.len(), service.records().await), (1, 1));
    let retry = service.post(&router, who, *who).await;
    assert_eq!((retry.status, &*retry.body), (StatusCode::CREATED, *who));
    assert_eq!(service.notes().await, ["ann", "bob"]);
    assert_eq!((service.records().await, service.runs.so_far()), (2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_retries_a_deadlock_goes_unnoticed() {
    let (service, _, answers) = meet(post(repeated)).await;
    for (who, answer) in answers {
        assert_eq!((answer.status, &*answer.body), (StatusCode::CREATED, who));
    }
    assert_eq!(service.notes().await, ["ann", "bob"]);
    assert_eq!((service.records().await, service.runs.so_far()), (2, 3));
}

/// What comes after a deadlock is not a part of the transaction any more. It is not committed, and
/// no success is reported.
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_passes_over_a_deadlock_is_not_believed() {
    let (service, router, answers) = meet(post(passes_over)).await;
    let failed: Vec<_> =
        answers.iter().filter(|(_, answer)| answer.status != StatusCode::CREATED).collect();
    let [(who, answer)] = failed[..] else { panic!("{answers:?}") };
    // It cannot be told from a handler that has rolled back by itself and gone on.
    assert_eq!(answer.problem(), "transaction-ended");
    let other = if *who == "ann" { "bob" } else { "ann" };
    assert_eq!(service.notes().await, ["afterwards", other]);
    assert_eq!(service.records().await, 1);
    let retry = service.post(&router, who, *who).await;
    assert_eq!((retry.status, &*retry.body), (StatusCode::CREATED, *who));
    assert_eq!(service.notes().await.len(), 4);
}

#[idempotent(scope = "global", lock_timeout = "1s")]
async fn waits_for_a_lock(mut tx: Tx<MySql>, _: String) -> Result<StatusCode, Failure> {
    sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await?;
    sqlx::query("SELECT * FROM duties FOR UPDATE").execute(&mut *tx).await?;
    Ok(StatusCode::CREATED)
}

#[tokio::test]
async fn a_lock_that_was_waited_for_in_vain_is_a_conflict() {
    let service = service().await;
    let duties = "CREATE TABLE duties (who varchar(10) PRIMARY KEY);
        INSERT INTO duties VALUES ('ann')";
    sqlx::raw_sql(duties).execute(&service.pool).await.unwrap();
    let router = Router::new().route("/notes", post(waits_for_a_lock));
    let mut blocker = service.pool.begin().await.unwrap();
    sqlx::query("SELECT * FROM duties FOR UPDATE").execute(&mut *blocker).await.unwrap();
    let refused = patiently(service.send(&router, "k")).await;
    assert_eq!(refused.problem(), "transaction-conflict");
    assert!(service.notes().await.is_empty());
    blocker.rollback().await.unwrap();
    assert_eq!(service.send(&router, "k").await.status, StatusCode::CREATED);
    assert_eq!(service.notes().await, ["x"]);
}

/// Transactions of different records do not meet in our table, whatever their isolation.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_share_nothing_do_not_meet_in_our_table() {
    #[idempotent(scope = "global", isolation = "serializable")]
    async fn strange(Extension(hold): Extension<Hold>, _tx: Tx<MySql>) -> StatusCode {
        hold.here().await;
        StatusCode::CREATED
    }
    let service = service().await;
    let hold = Hold::new();
    let router = Router::new().route("/notes", post(strange)).layer(Extension(hold.clone()));
    // Over records that are absent, and over those that have expired.
    for round in 0..2 {
        let requests: Vec<_> =
            (0..4).map(|number| service.sending(&router, &number.to_string())).collect();
        for _ in &requests {
            hold.arrival().await;
        }
        for _ in &requests {
            hold.release();
        }
        for request in requests {
            let answer = patiently(request).await.unwrap();
            assert_eq!(answer.status, StatusCode::CREATED, "{round}");
            assert!(!answer.is_replay());
        }
        let expire = "UPDATE idem SET expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND";
        sqlx::query(expire).execute(&service.pool).await.unwrap();
    }
}
