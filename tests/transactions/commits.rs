//! What is committed and what is answered agree, whatever breaks in between.

use std::time::Duration;

use axum::{
    Extension, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use idem::{Idem, PostgresStore, Tx, idempotent};
use idem_testkit::PostgresServer;
use sqlx::{PgPool, Postgres, postgres::PgPoolOptions};

use crate::{
    proxy::{Fault, Proxy},
    support::{
        Hold, Runs, Service, eventually, patiently,
        postgres::{engine, service, service_on, url_of},
    },
};

#[idempotent(scope = "global")]
async fn create(State(runs): State<Runs>, mut tx: Tx<Postgres>) -> (StatusCode, String) {
    let run = runs.count();
    sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
    (StatusCode::CREATED, format!("run {run}"))
}

fn router() -> Router<Service<Postgres>> {
    Router::new().route("/notes", post(create))
}

/// A service whose connections go through a proxy. It looks at its database past the proxy.
pub(crate) async fn proxied_service() -> (Service<Postgres>, Proxy) {
    let service = service().await;
    let options = service.pool.connect_options();
    let proxy = Proxy::to(options.get_port()).await;
    let url = url_of(&service.pool);
    let url = url.replace(&format!(":{}/", options.get_port()), &format!(":{}/", proxy.port));
    let pool: PgPool = PgPoolOptions::new()
        .max_connections(2)
        .connect(&format!("{url}?sslmode=disable"))
        .await
        .unwrap();
    let store = PostgresStore::beside(&pool)
        .statement_timeout(Duration::from_secs(2))
        .connect()
        .await
        .unwrap();
    let idem = Idem::builder(store).store_timeout(Duration::from_secs(4)).build().unwrap();
    (service.with(idem), proxy)
}

async fn counts(service: &Service<Postgres>) -> (usize, i64, u32) {
    (service.notes().await.len(), service.records().await, service.runs.so_far())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_found_out() {
    let (service, proxy) = proxied_service().await;
    proxy.on_commit(Fault::CutAfter);
    let first = patiently(service.send(&router(), "k")).await;
    assert_eq!((first.status, &*first.body), (StatusCode::CREATED, "run 1"));
    assert_eq!(proxy.faults(), 1);
    assert_eq!(counts(&service).await, (1, 1, 1));
    assert!(service.send(&router(), "k").await.is_replay());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_did_not_arrive_is_no_commit() {
    let (service, proxy) = proxied_service().await;
    proxy.on_commit(Fault::CutBefore);
    let first = patiently(service.send(&router(), "k")).await;
    assert_eq!(
        (first.status, &*first.problem()),
        (StatusCode::SERVICE_UNAVAILABLE, "store-unavailable")
    );
    assert!(first.is_transient());
    assert_eq!(proxy.faults(), 1);
    assert_eq!(counts(&service).await, (0, 0, 1));
    assert_eq!(service.send(&router(), "k").await.body, "run 2");
    assert_eq!(counts(&service).await, (1, 1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_nobody_can_ask_about_is_unknown_until_somebody_can() {
    for (fault, runs) in [(Fault::CutAfter, 1), (Fault::CutBefore, 2)] {
        let (service, proxy) = proxied_service().await;
        proxy.on_commit_and_down(fault);
        let first = patiently(service.send(&router(), "k")).await;
        assert_eq!(first.status, StatusCode::SERVICE_UNAVAILABLE, "{first:?}");
        assert_eq!(first.problem(), "commit-unknown");
        assert!(first.is_transient());
        proxy.up();
        let retry = patiently(service.settle(&router(), "k")).await;
        assert_eq!((retry.status, &retry.body), (StatusCode::CREATED, &format!("run {runs}")));
        assert_eq!(retry.is_replay(), runs == 1);
        assert_eq!(counts(&service).await, (1, 1, runs));
    }
}

/// Until then it is not to be told from one that did not arrive.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_still_going_on_is_waited_for() {
    let (service, proxy) = proxied_service().await;
    let slow_commit = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END $$;
        CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION wait()";
    sqlx::raw_sql(slow_commit).execute(&service.pool).await.unwrap();
    sqlx::raw_sql("CREATE EXTENSION pg_stat_statements").execute(&service.pool).await.unwrap();
    let mut blocker = service.pool.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(42)").execute(&mut *blocker).await.unwrap();
    proxy.on_commit(Fault::CutLater);
    let first = service.sending(&router(), "k");
    let is_blocked = "SELECT count(*) > 0 FROM pg_stat_activity
        WHERE datname = current_database() AND query = 'COMMIT' AND wait_event_type = 'Lock'";
    eventually(async || {
        sqlx::query_scalar(is_blocked).fetch_one(&service.pool).await.unwrap_or(false)
    })
    .await;
    proxy.cut();
    // The engine asks whether it is over, again and again, and does not answer.
    let asked = "SELECT coalesce(sum(calls), 0) > 1 FROM pg_stat_statements
        WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND query LIKE 'SELECT pg_try_advisory_xact_lock%'";
    eventually(async || {
        let asked = sqlx::query_scalar(asked).fetch_one(&service.pool);
        first.is_finished() || asked.await.unwrap()
    })
    .await;
    assert!(!first.is_finished());
    blocker.rollback().await.unwrap();
    let first = patiently(first).await.unwrap();
    assert_eq!((first.status, &*first.body), (StatusCode::CREATED, "run 1"));
    assert_eq!(counts(&service).await, (1, 1, 1));
}

/// The connection stays open, so that only the store timeout ends the waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_does_not_come_is_unknown_and_a_retry_finds_it_out() {
    let (service, proxy) = proxied_service().await;
    proxy.on_commit(Fault::Silence);
    let first = patiently(service.send(&router(), "k")).await;
    assert_eq!(first.status, StatusCode::SERVICE_UNAVAILABLE, "{first:?}");
    assert_eq!(first.problem(), "commit-unknown");
    let retry = patiently(service.send(&router(), "k")).await;
    assert!(retry.is_replay());
    assert_eq!(retry.body, "run 1");
    assert_eq!(counts(&service).await, (1, 1, 1));
}

/// A transaction without a record leaves nothing to find out by.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_a_commit_whose_answer_is_lost_is_unknown() {
    #[idempotent(scope = "global", required = false)]
    async fn unguarded(mut tx: Tx<Postgres>) -> StatusCode {
        sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
        StatusCode::CREATED
    }
    let (service, proxy) = proxied_service().await;
    proxy.on_commit(Fault::CutAfter);
    let router = Router::new().route("/notes", post(unguarded));
    let request = http::Request::post("/notes").body("".into()).unwrap();
    let answer = patiently(service.send_request(&router, request)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.problem(), "commit-unknown");
    assert_eq!(counts(&service).await, (1, 0, 0));
}

#[tokio::test]
async fn a_database_that_refuses_to_commit_is_an_error_and_nothing_is_recorded() {
    let service = service().await;
    let constraint = "ALTER TABLE notes ADD UNIQUE (text) DEFERRABLE INITIALLY DEFERRED;
        INSERT INTO notes VALUES ('x')";
    sqlx::raw_sql(constraint).execute(&service.pool).await.unwrap();
    let first = service.send(&router(), "k").await;
    assert_eq!(first.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(first.problem(), "not-committed");
    assert!(!first.is_transient());
    assert_eq!(counts(&service).await, (1, 0, 1));
    sqlx::query("DELETE FROM notes").execute(&service.pool).await.unwrap();
    assert_eq!(service.send(&router(), "k").await.body, "run 2");
    assert_eq!(counts(&service).await, (1, 1, 2));
}

/// An error of the database in the middle of the handler, as it is answered by many.
struct Failed;

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, "the database failed").into_response()
    }
}

impl From<sqlx::Error> for Failed {
    fn from(_: sqlx::Error) -> Self {
        Self
    }
}

/// The first run stops between two statements; `last` says whether the second one is there.
#[idempotent(scope = "global")]
async fn stops(
    State(runs): State<Runs>,
    Extension(hold): Extension<Hold>,
    mut tx: Tx<Postgres>,
    last: String,
) -> Result<(StatusCode, String), Failed> {
    let run = runs.count();
    sqlx::query("SET LOCAL application_name = 'stopped'").execute(&mut *tx).await?;
    sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await?;
    if run == 1 {
        hold.here().await;
    }
    match last.as_str() {
        "nothing" => {}
        "rejects" => return Ok((StatusCode::UNPROCESSABLE_ENTITY, format!("no, {run}"))),
        _ => {
            sqlx::query("SELECT 1").execute(&mut *tx).await?;
        }
    }
    Ok((StatusCode::CREATED, format!("run {run}")))
}

fn stopping(hold: &Hold) -> Router<Service<Postgres>> {
    Router::new().route("/notes", post(stops)).layer(Extension(hold.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_terminated_in_the_middle_commits_nothing() {
    for (last, status) in [("nothing", 503), ("statement", 500)] {
        let service = service().await;
        let hold = Hold::new();
        let router = stopping(&hold);
        let first = tokio::spawn({
            let (service, router) = (service.clone(), router.clone());
            async move { service.post(&router, "k", last).await }
        });
        hold.arrival().await;
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE application_name = 'stopped' AND datname = current_database()";
        let ended: i64 = sqlx::query_scalar(end).fetch_one(&service.pool).await.unwrap();
        assert_eq!(ended, 1);
        hold.release();
        let first = patiently(first).await.unwrap();
        assert_eq!(first.status, status, "{first:?}");
        assert_eq!((service.notes().await.len(), service.records().await), (0, 0));
        let retry = service.post(&router, "k", last).await;
        assert_eq!((retry.status, &*retry.body), (StatusCode::CREATED, "run 2"));
        assert_eq!((service.notes().await.len(), service.records().await), (1, 1));
    }
}

/// What is not committed cannot be, so the answer may be recorded.
#[tokio::test(flavor = "multi_thread")]
async fn a_final_error_is_recorded_although_its_session_is_gone() {
    let service = service().await;
    let hold = Hold::new();
    let router = stopping(&hold);
    let first = tokio::spawn({
        let (service, router) = (service.clone(), router.clone());
        async move { service.post(&router, "k", "rejects").await }
    });
    hold.arrival().await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'stopped' AND datname = current_database()";
    sqlx::query(end).execute(&service.pool).await.unwrap();
    hold.release();
    let first = patiently(first).await.unwrap();
    assert_eq!((first.status, &*first.body), (StatusCode::UNPROCESSABLE_ENTITY, "no, 1"));
    let retry = service.post(&router, "k", "rejects").await;
    assert!(retry.is_replay());
    assert_eq!(retry.body, "no, 1");
    assert_eq!((service.notes().await.len(), service.records().await), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_in_the_middle_commits_nothing() {
    let server = PostgresServer::start();
    for (last, status) in [("nothing", 503), ("statement", 500)] {
        let service = service_on(&server).await;
        let hold = Hold::new();
        let router = stopping(&hold);
        let first = tokio::spawn({
            let (service, router) = (service.clone(), router.clone());
            async move { service.post(&router, "k", last).await }
        });
        hold.arrival().await;
        server.stop();
        hold.release();
        let first = patiently(first).await.unwrap();
        assert_eq!(first.status, status, "{first:?}");
        let meanwhile = patiently(service.post(&router, "k", last)).await;
        assert_eq!(meanwhile.status, StatusCode::SERVICE_UNAVAILABLE);
        server.restart();
        // Pings that are on their way fail at most once for each connection.
        eventually(async || service.pool.acquire().await.is_ok()).await;
        assert_eq!((service.notes().await.len(), service.records().await), (0, 0));
        let retry = service.post(&router, "k", last).await;
        assert_eq!((retry.status, &*retry.body), (StatusCode::CREATED, "run 2"), "{retry:?}");
        assert_eq!((service.notes().await.len(), service.records().await), (1, 1));
    }
}

/// Connections that are older than the server cost no request its answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_between_two_requests_goes_unnoticed() {
    let server = PostgresServer::start();
    let service = service_on(&server).await;
    let own_pool = PostgresStore::builder(url_of(&service.pool).parse().unwrap())
        .max_transactions(3)
        .connect()
        .await
        .unwrap();
    let services = [
        service.clone().with(engine(&url_of(&service.pool)).await),
        service.with(Idem::builder(own_pool).build().unwrap()),
    ];
    for (service, name) in services.iter().zip(["beside", "own"]) {
        for round in 0..3 {
            let hold = Hold::new();
            let parallel = [0, 1, 2].map(|number| {
                let router = stopping(&hold);
                hold.release();
                service.sending(&router, &format!("{name} {round} {number}"))
            });
            for sent in parallel {
                assert_eq!(patiently(sent).await.unwrap().status, StatusCode::CREATED);
            }
            server.restart();
            let answer = patiently(service.send(&router(), &format!("{name} {round}"))).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{name}: {answer:?}");
        }
    }
}

/// A final error, streamed or not, with a header that is not recorded.
#[idempotent(scope = "global")]
async fn rejects(State(runs): State<Runs>, mut tx: Tx<Postgres>, body: String) -> Response {
    sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
    let text = format!("no, {}", runs.count());
    let body = if body == "streamed" {
        let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(text)]);
        axum::body::Body::from_stream(chunks)
    } else {
        text.into()
    };
    (StatusCode::UNPROCESSABLE_ENTITY, [("set-cookie", "a=b")], body).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_error_whose_record_was_written_twice_is_answered_as_the_first() {
    for body in ["whole", "streamed"] {
        let (service, proxy) = proxied_service().await;
        let router = Router::new().route("/notes", post(rejects));
        proxy.on_record(Fault::CutAfter);
        let first = patiently(service.post(&router, "k", body)).await;
        assert_eq!(proxy.faults(), 1);
        assert_eq!(first.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {first:?}");
        assert_eq!(first.body, "no, 1");
        assert!(!first.is_replay() && first.headers.contains_key("set-cookie"));
        assert_eq!(counts(&service).await, (0, 1, 1));
        let again = patiently(service.post(&router, "k", body)).await;
        assert!(again.is_replay() || again.problem() == "response-not-kept");
        assert_eq!(counts(&service).await, (0, 1, 1));
    }
}
