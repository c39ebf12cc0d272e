//! Transactions that meet, so that one of them has to go.

use std::{error::Error, fmt};

use axum::{
    Extension, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use idem::{TransactionConflict, Tx, idempotent, is_conflict};
use sqlx::Postgres;

use crate::support::{Answer, Hold, Runs, Service, patiently, postgres::service};

/// An error as `thiserror` makes it of `#[error("the database failed")]` and `#[from]`.
#[derive(Debug)]
struct Failure(sqlx::Error);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the database failed")
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// An error as `thiserror` makes it of `#[error(transparent)]`: it hides that it wraps another one.
#[derive(Debug)]
struct Transparent(sqlx::Error);

impl fmt::Display for Transparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Transparent {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// No error at all, but a response that says what it is.
struct Marked(sqlx::Error);

impl IntoResponse for Marked {
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        if is_conflict(&self.0) {
            response.extensions_mut().insert(TransactionConflict);
        }
        response
    }
}

/// A boxed error in a response of its own.
#[derive(Debug)]
struct Boxed(Box<dyn Error + Send + Sync>);

impl fmt::Display for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("something failed")
    }
}

impl Error for Boxed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

macro_rules! responses {
    ($($name:ident($source:ty)),*) => {$(
        impl From<sqlx::Error> for $name {
            fn from(error: sqlx::Error) -> Self {
                Self(error.into())
            }
        }
    )*};
}
responses!(
    Failure(sqlx::Error),
    Transparent(sqlx::Error),
    Marked(sqlx::Error),
    Boxed(Box<dyn Error>)
);

macro_rules! fail_with_500 {
    ($($name:ident),*) => {$(
        impl IntoResponse for $name {
            fn into_response(self) -> Response {
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    )*};
}
fail_with_500!(Failure, Transparent, Boxed);

async fn write(tx: &mut Tx<Postgres>, text: &str) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO notes VALUES ($1)").bind(text).execute(&mut **tx).await?;
    Ok(())
}

/// Goes off duty, if another one stays. Whoever reads before the other has written must not commit
/// after it: that is a write skew. The first two runs wait for each other.
async fn go_off_duty(
    tx: &mut Tx<Postgres>,
    runs: &Runs,
    hold: &Hold,
    who: &str,
) -> sqlx::Result<bool> {
    let run = runs.count();
    write(tx, who).await?;
    let on_duty: i64 =
        sqlx::query_scalar("SELECT count(*) FROM duties WHERE here").fetch_one(&mut **tx).await?;
    if run <= 2 {
        hold.here().await;
    }
    if on_duty < 2 {
        return Ok(false);
    }
    let off = sqlx::query("UPDATE duties SET here = false WHERE who = $1").bind(who);
    off.execute(&mut **tx).await?;
    Ok(true)
}

macro_rules! duties {
    ($($name:ident -> $error:ident $([$($option:tt)*])?;)*) => {$(
        #[idempotent(scope = "global", isolation = "serializable" $(, $($option)*)?)]
        async fn $name(
            State(runs): State<Runs>,
            Extension(hold): Extension<Hold>,
            mut tx: Tx<Postgres>,
            who: String,
        ) -> Result<(StatusCode, String), $error> {
            let gone = go_off_duty(&mut tx, &runs, &hold, &who).await?;
            Ok((StatusCode::CREATED, format!("{who} gone: {gone}")))
        }
    )*};
}
duties! {
    by_source -> Failure;
    by_transparent_source -> Transparent;
    by_mark -> Marked;
    by_boxed_source -> Boxed;
    repeated -> Failure [retries = 3];
    repeated_by_mark -> Marked [retries = 3];
}

async fn on_duty(service: &Service<Postgres>) -> i64 {
    let query = sqlx::query_scalar("SELECT count(*) FROM duties WHERE here");
    query.fetch_one(&service.pool).await.unwrap()
}

/// Two requests that both have read before either writes: the first ends before the second goes on.
async fn meet(
    handler: MethodRouter<Service<Postgres>>,
) -> (Service<Postgres>, Router<Service<Postgres>>, Answer) {
    let service = service().await;
    let duties = "CREATE TABLE duties (who text PRIMARY KEY, here boolean);
        INSERT INTO duties VALUES ('ann', true), ('bob', true)";
    sqlx::raw_sql(duties).execute(&service.pool).await.unwrap();
    let (one, two) = (Hold::new(), Hold::new());
    let router = Router::new().route("/notes", handler);
    let send = |who: &'static str, hold: &Hold| {
        let (service, router) = (service.clone(), router.clone().layer(Extension(hold.clone())));
        tokio::spawn(async move { service.post(&router, who, who).await })
    };
    let first = send("ann", &one);
    one.arrival().await;
    let second = send("bob", &two);
    two.arrival().await;
    one.release();
    let first = patiently(first).await.unwrap();
    assert_eq!((first.status, &*first.body), (StatusCode::CREATED, "ann gone: true"));
    two.release();
    let second = patiently(second).await.unwrap();
    (service, router.layer(Extension(Hold::new())), second)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serialization_failure_is_rolled_back_and_the_client_may_retry() {
    for handler in
        [post(by_source), post(by_transparent_source), post(by_mark), post(by_boxed_source)]
    {
        let (service, router, second) = meet(handler).await;
        assert_eq!(second.status, StatusCode::SERVICE_UNAVAILABLE, "{second:?}");
        assert_eq!(second.problem(), "transaction-conflict");
        assert!(second.is_transient());
        assert_eq!((service.notes().await, service.records().await), (vec!["ann".into()], 1));
        assert_eq!(service.runs.so_far(), 2);
        let retry = service.post(&router, "bob", "bob").await;
        assert_eq!((retry.status, &*retry.body), (StatusCode::CREATED, "bob gone: false"));
        assert_eq!((service.notes().await.len(), service.records().await), (2, 2));
        assert_eq!(on_duty(&service).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_retries_the_handler_runs_again_and_the_client_sees_nothing_of_it() {
    for handler in [post(repeated), post(repeated_by_mark)] {
        let (service, router, second) = meet(handler).await;
        assert_eq!((second.status, &*second.body), (StatusCode::CREATED, "bob gone: false"));
        assert!(!second.is_replay());
        assert_eq!(service.notes().await, ["ann", "bob"]);
        assert_eq!((service.runs.so_far(), on_duty(&service).await), (3, 1));
        assert!(service.post(&router, "bob", "bob").await.is_replay());
    }
}

/// Writes before it waits, so that the failure comes with a statement of ours.
#[idempotent(scope = "global", isolation = "serializable")]
async fn writes_first(
    State(runs): State<Runs>,
    Extension(hold): Extension<Hold>,
    mut tx: Tx<Postgres>,
    who: String,
) -> Result<(StatusCode, String), Failure> {
    let run = runs.count();
    let on_duty: i64 =
        sqlx::query_scalar("SELECT count(*) FROM duties WHERE here").fetch_one(&mut *tx).await?;
    if on_duty == 2 {
        let off = sqlx::query("UPDATE duties SET here = false WHERE who = $1").bind(&who);
        off.execute(&mut *tx).await?;
    }
    write(&mut tx, &who).await?;
    if run <= 2 {
        hold.here().await;
    }
    Ok((StatusCode::CREATED, format!("{who} gone: {}", on_duty == 2)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serialization_failure_after_the_handler_is_rolled_back_too() {
    let (service, router, second) = meet(post(writes_first)).await;
    assert_eq!(second.status, StatusCode::SERVICE_UNAVAILABLE, "{second:?}");
    assert_eq!(second.problem(), "transaction-conflict");
    assert_eq!((service.notes().await, service.records().await), (vec!["ann".into()], 1));
    let retry = service.post(&router, "bob", "bob").await;
    assert_eq!(retry.body, "bob gone: false");
    assert_eq!(on_duty(&service).await, 1);
}

/// The handler of a transaction that fails for the first time where the test wants it to.
#[idempotent(scope = "global", retries = 2)]
async fn plain(State(runs): State<Runs>, mut tx: Tx<Postgres>) -> (StatusCode, String) {
    let run = runs.count();
    write(&mut tx, "x").await.unwrap();
    (StatusCode::CREATED, format!("run {run}"))
}

#[idempotent(scope = "global")]
async fn plain_once(State(runs): State<Runs>, mut tx: Tx<Postgres>) -> (StatusCode, String) {
    let run = runs.count();
    write(&mut tx, "x").await.unwrap();
    (StatusCode::CREATED, format!("run {run}"))
}

const FAILS_FIRST: &str = "CREATE SEQUENCE trials;
    CREATE FUNCTION fail_first() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('trials') = 1 THEN
            RAISE EXCEPTION 'on purpose' USING ERRCODE = 'serialization_failure';
        END IF;
        RETURN NEW;
    END $$;";

/// With the statement that writes the record, and with the commit.
#[tokio::test]
async fn a_conflict_that_comes_with_the_record_or_the_commit_is_one_like_others() {
    for trigger in [
        "CREATE TRIGGER t BEFORE INSERT ON idem FOR EACH ROW EXECUTE FUNCTION fail_first()",
        "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION fail_first()",
    ] {
        for is_repeated in [false, true] {
            let service = service().await;
            sqlx::raw_sql(FAILS_FIRST).execute(&service.pool).await.unwrap();
            sqlx::raw_sql(trigger).execute(&service.pool).await.unwrap();
            let handler = if is_repeated { post(plain) } else { post(plain_once) };
            let router = Router::new().route("/notes", handler);
            if !is_repeated {
                let first = service.send(&router, "k").await;
                assert_eq!(first.status, StatusCode::SERVICE_UNAVAILABLE, "{first:?}");
                assert_eq!(first.problem(), "transaction-conflict");
                assert!(first.is_transient());
                assert!(service.notes().await.is_empty());
                assert_eq!(service.records().await, 0);
            }
            assert_eq!(service.send(&router, "k").await.body, "run 2");
            assert_eq!((service.notes().await.len(), service.records().await), (1, 1));
        }
    }
}

#[idempotent(scope = "global", retries = 3)]
async fn never_succeeds(State(runs): State<Runs>, mut tx: Tx<Postgres>) -> Response {
    runs.count();
    write(&mut tx, "x").await.unwrap();
    (Extension(TransactionConflict), StatusCode::INTERNAL_SERVER_ERROR).into_response()
}

#[tokio::test]
async fn retries_come_to_an_end() {
    let service = service().await;
    let router = Router::new().route("/notes", post(never_succeeds));
    for runs in [4, 8] {
        let answer = service.send(&router, "k").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.problem(), "transaction-conflict");
        assert!(answer.is_transient());
        assert_eq!(service.runs.so_far(), runs);
        assert!(service.notes().await.is_empty());
        assert_eq!(service.records().await, 0);
    }
}

/// Locks its own row first and then the other's. The first two runs wait for each other.
#[idempotent(scope = "global")]
async fn crosses(
    State(runs): State<Runs>,
    Extension(hold): Extension<Hold>,
    mut tx: Tx<Postgres>,
    who: String,
) -> Result<(StatusCode, String), Failure> {
    let run = runs.count();
    sqlx::query("SET LOCAL deadlock_timeout = '50ms'").execute(&mut *tx).await?;
    write(&mut tx, &who).await?;
    let lock = "SELECT FROM duties WHERE (who = $1) = $2 FOR UPDATE";
    sqlx::query(lock).bind(&who).bind(true).execute(&mut *tx).await?;
    if run <= 2 {
        hold.here().await;
    }
    sqlx::query(lock).bind(&who).bind(false).execute(&mut *tx).await?;
    Ok((StatusCode::CREATED, who))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_lock_each_other_out_one_is_rolled_back_and_may_retry() {
    let service = service().await;
    let duties = "CREATE TABLE duties (who text PRIMARY KEY);
        INSERT INTO duties VALUES ('ann'), ('bob')";
    sqlx::raw_sql(duties).execute(&service.pool).await.unwrap();
    let hold = Hold::new();
    let router = Router::new().route("/notes", post(crosses)).layer(Extension(hold.clone()));
    let send = |who: &'static str| {
        let (service, router) = (service.clone(), router.clone());
        tokio::spawn(async move { service.post(&router, who, who).await })
    };
    let both = [send("ann"), send("bob")];
    for _ in &both {
        hold.arrival().await;
    }
    for _ in &both {
        hold.release();
    }
    let mut failed = Vec::new();
    for (sent, who) in both.into_iter().zip(["ann", "bob"]) {
        let answer = patiently(sent).await.unwrap();
        if answer.status != StatusCode::CREATED {
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
            assert_eq!(answer.problem(), "transaction-conflict");
            assert!(answer.is_transient());
            failed.push(who);
        }
    }
    assert_eq!(failed.len(), 1, "{failed:?}");
    let retry = service.post(&router, failed[0], failed[0]).await;
    assert_eq!((retry.status, &*retry.body), (StatusCode::CREATED, failed[0]));
    assert_eq!(service.notes().await, ["ann", "bob"]);
    assert_eq!((service.records().await, service.runs.so_far()), (2, 3));
}

#[idempotent(scope = "global", isolation = "serializable")]
async fn strange(Extension(hold): Extension<Hold>, _tx: Tx<Postgres>) -> StatusCode {
    hold.here().await;
    StatusCode::CREATED
}

/// A transaction that reads the table of records would conflict with whoever writes another record.
#[tokio::test]
async fn serializable_requests_that_share_nothing_do_not_meet_in_our_table() {
    let service = service().await;
    let hold = Hold::new();
    let router = Router::new().route("/notes", post(strange)).layer(Extension(hold.clone()));
    let requests: Vec<_> = (0..4)
        .map(|number| {
            let (service, router) = (service.clone(), router.clone());
            tokio::spawn(async move { service.send(&router, &number.to_string()).await })
        })
        .collect();
    for _ in &requests {
        hold.arrival().await;
    }
    for _ in &requests {
        hold.release();
    }
    for request in requests {
        assert_eq!(patiently(request).await.unwrap().status, StatusCode::CREATED);
    }
    for number in 0..4 {
        assert!(service.send(&router, &number.to_string()).await.is_replay());
    }
}

#[idempotent(scope = "global", required = false, retries = 2)]
async fn conflicts_once(State(runs): State<Runs>, mut tx: Tx<Postgres>) -> Response {
    sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
    let mut response = StatusCode::CREATED.into_response();
    if runs.count() == 1 {
        response.extensions_mut().insert(TransactionConflict);
    }
    response
}

#[tokio::test]
async fn a_request_without_a_key_runs_again_too() {
    let service = service().await;
    let router = Router::new().route("/notes", post(conflicts_once));
    let request = http::Request::post("/notes").body("".into()).unwrap();
    assert_eq!(service.send_request(&router, request).await.status, StatusCode::CREATED);
    assert_eq!((service.notes().await.len(), service.runs.so_far()), (1, 2));
}

#[idempotent(scope = "global")]
async fn leased(State(runs): State<Runs>) -> Response {
    let mut response = (StatusCode::CONFLICT, runs.count().to_string()).into_response();
    response.extensions_mut().insert(TransactionConflict);
    response
}

/// What a handler without a `Tx` did, nobody rolls back.
#[tokio::test]
async fn without_a_transaction_the_mark_means_nothing() {
    let service = service().await;
    let router = Router::new().route("/notes", post(leased));
    assert_eq!(service.send(&router, "k").await.body, "1");
    let again = service.send(&router, "k").await;
    assert!(again.is_replay());
    assert_eq!((again.status, &*again.body), (StatusCode::CONFLICT, "1"));
}
