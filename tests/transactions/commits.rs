//! What is committed and what is answered agree, whatever breaks in between.

use std::time::Duration;

use axum::{
    Extension, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use idem::{Idem, MySqlStore, PostgresStore, Tx, idempotent};
use idem_testkit::{MariaDbServer, PostgresServer};
use sqlx::{
    Database, MySql, MySqlPool, PgPool, Postgres, mysql::MySqlPoolOptions, postgres::PgPoolOptions,
};

use tokio::time::sleep;

use crate::{
    proxy::{Fault, Protocol, Proxy},
    support::{self, Hold, Runs, Service, eventually, on_databases, patiently},
};

/// A database whose server is reached over a wire.
pub(crate) trait Wired: Database + Sized {
    type Server;

    /// Marks the session that a handler has, for [`end_session`](Self::end_session).
    const MARK: &'static str;

    /// A service whose connections go through a proxy. It looks at its database past the proxy.
    async fn proxied() -> (Service<Self>, Proxy);

    async fn service_on(server: &Self::Server) -> Service<Self>;

    /// An engine whose transactions are begun on a pool of its own, or beside another one.
    async fn engines(service: &Service<Self>) -> [Idem<Self>; 2];

    /// Has the server end the session of a handler, and says how many there were.
    async fn end_session(service: &Service<Self>) -> i64;
}

impl Wired for Postgres {
    type Server = PostgresServer;

    const MARK: &'static str = "SET LOCAL application_name = 'stopped'";

    async fn proxied() -> (Service<Self>, Proxy) {
        let service = support::postgres::service().await;
        let options = service.pool.connect_options();
        let proxy = Proxy::to(options.get_port(), Protocol::Postgres).await;
        let url = support::postgres::url_of(&service.pool);
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

    async fn service_on(server: &PostgresServer) -> Service<Self> {
        support::postgres::service_on(server).await
    }

    async fn engines(service: &Service<Self>) -> [Idem<Self>; 2] {
        let url = support::postgres::url_of(&service.pool);
        let own = PostgresStore::builder(url.parse().unwrap()).max_transactions(3);
        let own = Idem::builder(own.connect().await.unwrap()).build().unwrap();
        [support::postgres::engine(&url).await, own]
    }

    async fn end_session(service: &Service<Self>) -> i64 {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE application_name = 'stopped' AND datname = current_database()";
        sqlx::query_scalar(end).fetch_one(&service.pool).await.unwrap()
    }
}

impl Wired for MySql {
    type Server = MariaDbServer;

    const MARK: &'static str = "DO 'stopped'";

    async fn proxied() -> (Service<Self>, Proxy) {
        let service = support::mariadb::service().await;
        let options = service.pool.connect_options();
        let proxy = Proxy::to(options.get_port(), Protocol::MySql).await;
        let url = support::mariadb::url_of(&service.pool);
        let url = url.replace(&format!(":{}/", options.get_port()), &format!(":{}/", proxy.port));
        let pool: MySqlPool = MySqlPoolOptions::new()
            .max_connections(2)
            .connect(&format!("{url}?ssl-mode=disabled"))
            .await
            .unwrap();
        let store = MySqlStore::beside(&pool)
            .statement_timeout(Duration::from_secs(2))
            .connect()
            .await
            .unwrap();
        let idem = Idem::builder(store).store_timeout(Duration::from_secs(4)).build().unwrap();
        (service.with(idem), proxy)
    }

    async fn service_on(server: &MariaDbServer) -> Service<Self> {
        support::mariadb::service_on(server).await
    }

    async fn engines(service: &Service<Self>) -> [Idem<Self>; 2] {
        let url = support::mariadb::url_of(&service.pool);
        let own = MySqlStore::builder(url.parse().unwrap()).max_transactions(3);
        let own = Idem::builder(own.connect().await.unwrap()).build().unwrap();
        [support::mariadb::engine(&url).await, own]
    }

    async fn end_session(service: &Service<Self>) -> i64 {
        let open = "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx
            JOIN information_schema.processlist ON id = trx_mysql_thread_id
            WHERE db = DATABASE()";
        let mut sessions: Vec<u64> = Vec::new();
        // The table lags behind.
        while sessions.is_empty() {
            sleep(Duration::from_millis(20)).await;
            sessions = sqlx::query_scalar(open).fetch_all(&service.pool).await.unwrap();
        }
        for session in &sessions {
            let kill = sqlx::AssertSqlSafe(format!("KILL {session}"));
            sqlx::raw_sql(kill).execute(&service.pool).await.unwrap();
        }
        i64::try_from(sessions.len()).unwrap()
    }
}

on_databases! { [postgres, mariadb] {
    #[idempotent(scope = "global")]
    pub(super) async fn create(State(runs): State<Runs>, mut tx: Tx<Db>) -> (StatusCode, String) {
        let run = runs.count();
        sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
        (StatusCode::CREATED, format!("run {run}"))
    }

    pub(super) fn router() -> Router<Service<Db>> {
        Router::new().route("/notes", post(create))
    }

    pub(super) async fn counts(service: &Service<Db>) -> (usize, i64, u32) {
        (service.notes().await.len(), service.records().await, service.runs.so_far())
    }

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_found_out() {
    let (service, proxy) = Db::proxied().await;
    proxy.on_commit(Fault::CutAfter);
    let first = patiently(service.send(&router(), "k")).await;
    assert_eq!((first.status, &*first.body), (StatusCode::CREATED, "run 1"));
    assert_eq!(proxy.faults(), 1);
    assert_eq!(counts(&service).await, (1, 1, 1));
    assert!(service.send(&router(), "k").await.is_replay());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_did_not_arrive_is_no_commit() {
    let (service, proxy) = Db::proxied().await;
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
        let (service, proxy) = Db::proxied().await;
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

/// The connection stays open, so that only the store timeout ends the waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_does_not_come_is_unknown_and_a_retry_finds_it_out() {
    let (service, proxy) = Db::proxied().await;
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
    async fn unguarded(mut tx: Tx<Db>) -> StatusCode {
        sqlx::query("INSERT INTO notes VALUES ('x')").execute(&mut *tx).await.unwrap();
        StatusCode::CREATED
    }
    let (service, proxy) = Db::proxied().await;
    proxy.on_commit(Fault::CutAfter);
    let router = Router::new().route("/notes", post(unguarded));
    let request = http::Request::post("/notes").body("".into()).unwrap();
    let answer = patiently(service.send_request(&router, request)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.problem(), "commit-unknown");
    assert_eq!(counts(&service).await, (1, 0, 0));
}

/// The first run stops between two statements; `last` says whether the second one is there.
#[idempotent(scope = "global")]
async fn stops(
    State(runs): State<Runs>,
    Extension(hold): Extension<Hold>,
    mut tx: Tx<Db>,
    last: String,
) -> Result<(StatusCode, String), Failed> {
    let run = runs.count();
    sqlx::query(<Db as Wired>::MARK).execute(&mut *tx).await?;
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

fn stopping(hold: &Hold) -> Router<Service<Db>> {
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
        assert_eq!(Db::end_session(&service).await, 1);
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
    assert_eq!(Db::end_session(&service).await, 1);
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
    let server = <Db as Wired>::Server::start();
    for (last, status) in [("nothing", 503), ("statement", 500)] {
        let service = Db::service_on(&server).await;
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
    let server = <Db as Wired>::Server::start();
    let service = Db::service_on(&server).await;
    let services = Db::engines(&service).await.map(|idem| service.clone().with(idem));
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
async fn rejects(State(runs): State<Runs>, mut tx: Tx<Db>, body: String) -> Response {
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
        let (service, proxy) = Db::proxied().await;
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
} }

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

/// Until then it is not to be told from one that did not arrive.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_still_going_on_is_waited_for() {
    let (service, proxy) = Postgres::proxied().await;
    let slow_commit = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END $$;
        CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION wait()";
    sqlx::raw_sql(slow_commit).execute(&service.pool).await.unwrap();
    sqlx::raw_sql("CREATE EXTENSION pg_stat_statements").execute(&service.pool).await.unwrap();
    let mut blocker = service.pool.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(42)").execute(&mut *blocker).await.unwrap();
    proxy.on_commit(Fault::CutLater);
    let first = service.sending(&postgres::router(), "k");
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
    assert_eq!(postgres::counts(&service).await, (1, 1, 1));
}

#[tokio::test]
async fn a_database_that_refuses_to_commit_is_an_error_and_nothing_is_recorded() {
    let service = support::postgres::service().await;
    let constraint = "ALTER TABLE notes ADD UNIQUE (text) DEFERRABLE INITIALLY DEFERRED;
        INSERT INTO notes VALUES ('x')";
    sqlx::raw_sql(constraint).execute(&service.pool).await.unwrap();
    let first = service.send(&postgres::router(), "k").await;
    assert_eq!(first.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(first.problem(), "not-committed");
    assert!(!first.is_transient());
    assert_eq!(postgres::counts(&service).await, (1, 0, 1));
    sqlx::query("DELETE FROM notes").execute(&service.pool).await.unwrap();
    assert_eq!(service.send(&postgres::router(), "k").await.body, "run 2");
    assert_eq!(postgres::counts(&service).await, (1, 1, 2));
}
