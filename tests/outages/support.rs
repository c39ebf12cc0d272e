//! A service whose store is at the end of a wire that fails on demand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::FromRef,
    http::{HeaderMap, Request, StatusCode},
};
use idem::Idem;
use idem_testkit::{Fault, FaultProxy};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tower::ServiceExt;

/// How long a client may wait for the store.
pub(crate) const STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// Shorter than that.
pub(crate) const SERVER_TIMEOUT: Duration = Duration::from_millis(800);

/// How long the server keeps a transaction of a client that it lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Every way in which the wire fails.
pub(crate) const FAULTS: [Fault; 6] = [
    Fault::Refuse,
    Fault::Drop,
    Fault::Delay(Duration::from_secs(5)),
    Fault::CutReply(0),
    Fault::CutReply(7),
    Fault::HalfOpen,
];

/// How often handlers ran, and where they are held.
#[derive(Clone, Default)]
pub(crate) struct Runs(Arc<(AtomicU32, Notify, Notify)>);

impl Runs {
    /// For handlers: counts a run and says which one it is, from 1.
    pub(crate) fn count(&self) -> u32 {
        self.0.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// For handlers: says that it runs, and waits for a release.
    pub(crate) async fn hold(&self) {
        self.0.1.notify_one();
        self.0.2.notified().await;
    }

    pub(crate) async fn arrival(&self) {
        timeout(PATIENCE, self.0.1.notified()).await.expect("the handler runs");
    }

    pub(crate) fn release(&self) {
        self.0.2.notify_one();
    }

    pub(crate) fn so_far(&self) -> u32 {
        self.0.0.load(Ordering::Relaxed)
    }
}

/// What can fail between an engine and its store.
pub(crate) trait Wire: Send + Sync {
    /// See [`FaultProxy::fail`].
    fn fail(&self, fault: Fault);

    /// See [`FaultProxy::repair`].
    fn repair(&self);

    /// See [`FaultProxy::met`].
    fn met(&self) -> usize;
}

impl Wire for FaultProxy {
    fn fail(&self, fault: Fault) {
        Self::fail(self, fault);
    }

    fn repair(&self) {
        Self::repair(self);
    }

    fn met(&self) -> usize {
        Self::met(self)
    }
}

/// The router state, and the wire.
pub(crate) struct Service<D> {
    pub(crate) idem: Idem<D>,
    pub(crate) runs: Runs,
    pub(crate) proxy: Arc<dyn Wire>,
}

impl<D> Clone for Service<D> {
    fn clone(&self) -> Self {
        let (idem, runs, proxy) = (self.idem.clone(), self.runs.clone(), self.proxy.clone());
        Self { idem, runs, proxy }
    }
}

impl<D> FromRef<Service<D>> for Idem<D> {
    fn from_ref(service: &Service<D>) -> Self {
        service.idem.clone()
    }
}

impl<D> FromRef<Service<D>> for Runs {
    fn from_ref(service: &Service<D>) -> Self {
        service.runs.clone()
    }
}

impl<D: 'static> Service<D> {
    /// The same service in another process.
    pub(crate) fn in_another_process(&self, idem: Idem<D>) -> Self {
        Self { idem, ..self.clone() }
    }

    /// Sends a request, and asserts that its answer comes in time.
    pub(crate) async fn send(&self, router: &Router<Self>, path: &str, key: &str) -> Answer {
        let sent_at = Instant::now();
        let answer = self.send_at_leisure(router, path, key).await;
        // The rest is for a busy machine.
        assert!(sent_at.elapsed() < 8 * STORE_TIMEOUT, "{:?}: {answer:?}", sent_at.elapsed());
        answer
    }

    /// Sends a request in the background.
    pub(crate) fn sending(
        &self,
        router: &Router<Self>,
        path: &'static str,
        key: &str,
    ) -> JoinHandle<Answer> {
        let (service, router, key) = (self.clone(), router.clone(), key.to_owned());
        tokio::spawn(async move { service.send_at_leisure(&router, path, &key).await })
    }

    /// Repeats a request until it is not told to come back.
    pub(crate) async fn settle(&self, router: &Router<Self>, path: &str, key: &str) -> Answer {
        let start = Instant::now();
        loop {
            let answer = self.send(router, path, key).await;
            if !answer.headers.contains_key("Retry-After") {
                return answer;
            }
            assert!(start.elapsed() < PATIENCE, "{answer:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn send_at_leisure(&self, router: &Router<Self>, path: &str, key: &str) -> Answer {
        let request = Request::post(path).header("Idempotency-Key", key);
        let request = request.body(Body::empty()).unwrap();
        let response = router.clone().with_state(self.clone()).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: head.status, headers: head.headers, body }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn is_replay(&self) -> bool {
        self.headers.contains_key("Idempotency-Replayed")
    }

    /// The last part of the problem's type.
    pub(crate) fn problem(&self) -> String {
        let problem: serde_json::Value =
            serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no problem: {self:?}"));
        problem["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
    }
}

pub(crate) mod postgres {
    use std::sync::Arc;

    use idem::{Idem, PostgresStore};
    use idem_testkit::{FaultProxy, PostgresServer};
    use sqlx::{Connection, PgConnection};

    use super::{IDLE_TIMEOUT, Runs, SERVER_TIMEOUT, STORE_TIMEOUT, Service};

    pub(crate) type Db = sqlx::Postgres;

    pub(crate) const INSERT_NOTE: &str = "INSERT INTO notes VALUES ($1)";

    /// A service, and the url of its database past the wire.
    pub(crate) async fn service() -> (Service<Db>, String) {
        let url = PostgresServer::shared().fresh_database();
        let proxy = FaultProxy::in_front_of(&url);
        let options = proxy.url(&url).parse().unwrap();
        let builder = PostgresStore::builder(options).statement_timeout(SERVER_TIMEOUT);
        let store = builder.connect().await.unwrap();
        store.migrate().await.unwrap();
        let idem = Idem::builder(store).store_timeout(STORE_TIMEOUT).idle_timeout(IDLE_TIMEOUT);
        let idem = idem.build().unwrap();
        (Service { idem, runs: Runs::default(), proxy: Arc::new(proxy) }, url)
    }

    /// An engine over the same records, past the wire.
    pub(crate) async fn past_the_wire(url: &str) -> Idem<Db> {
        let store = PostgresStore::connect(url).await.unwrap();
        Idem::builder(store).build().unwrap()
    }

    /// How many completed records there are, and how many others.
    pub(crate) async fn records(url: &str) -> (i64, i64) {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let sql = "SELECT count(*) FILTER (WHERE state = 2), count(*) FILTER (WHERE state <> 2) FROM idem";
        sqlx::query_as(sql).fetch_one(&mut connection).await.unwrap()
    }
}

pub(crate) mod mariadb {
    use std::sync::Arc;

    use idem::{Idem, MySqlStore};
    use idem_testkit::{FaultProxy, MariaDbServer};
    use sqlx::{Connection, MySqlConnection};

    use super::{IDLE_TIMEOUT, Runs, SERVER_TIMEOUT, STORE_TIMEOUT, Service};

    pub(crate) type Db = sqlx::MySql;

    pub(crate) const INSERT_NOTE: &str = "INSERT INTO notes VALUES (?)";

    /// A service, and the url of its database past the wire.
    pub(crate) async fn service() -> (Service<Db>, String) {
        let url = MariaDbServer::shared().fresh_database();
        let proxy = FaultProxy::in_front_of(&url);
        let options = proxy.url(&url).parse().unwrap();
        let builder = MySqlStore::builder(options).statement_timeout(SERVER_TIMEOUT);
        let store = builder.connect().await.unwrap();
        store.migrate().await.unwrap();
        let idem = Idem::builder(store).store_timeout(STORE_TIMEOUT).idle_timeout(IDLE_TIMEOUT);
        let idem = idem.build().unwrap();
        (Service { idem, runs: Runs::default(), proxy: Arc::new(proxy) }, url)
    }

    /// An engine over the same records, past the wire.
    pub(crate) async fn past_the_wire(url: &str) -> Idem<Db> {
        let store = MySqlStore::connect(url).await.unwrap();
        Idem::builder(store).build().unwrap()
    }

    /// How many completed records there are, and how many others.
    pub(crate) async fn records(url: &str) -> (i64, i64) {
        let mut connection = MySqlConnection::connect(url).await.unwrap();
        let sql =
            "SELECT count(CASE WHEN state = 2 THEN 1 END), count(CASE WHEN state <> 2 THEN 1 END)
            FROM idem";
        sqlx::query_as(sql).fetch_one(&mut connection).await.unwrap()
    }
}

pub(crate) mod redis {
    use std::sync::Arc;

    use idem::{Idem, NoTransactions, RedisStore};
    use idem_testkit::{FaultProxy, RedisServer};

    use super::{Runs, SERVER_TIMEOUT, STORE_TIMEOUT, Service};

    /// A service, and the prefix of its keys.
    pub(crate) async fn service() -> (Service<NoTransactions>, String) {
        let server = RedisServer::shared();
        let (url, prefix) = (server.url(), server.fresh_prefix());
        let proxy = FaultProxy::in_front_of(&url);
        let builder = RedisStore::builder(proxy.url(&url)).prefix(&prefix).timeout(SERVER_TIMEOUT);
        let store = builder.connect().await.unwrap();
        let idem = Idem::builder(store).store_timeout(STORE_TIMEOUT).build().unwrap();
        (Service { idem, runs: Runs::default(), proxy: Arc::new(proxy) }, prefix)
    }

    /// An engine over the same records, past the wire.
    pub(crate) async fn past_the_wire(prefix: &str) -> Idem {
        let builder = RedisStore::builder(RedisServer::shared().url()).prefix(prefix);
        Idem::builder(builder.connect().await.unwrap()).build().unwrap()
    }

    /// How many completed records there are, and how many others.
    #[allow(clippy::unused_async, reason = "others ask over a connection")]
    pub(crate) async fn records(prefix: &str) -> (i64, i64) {
        count(RedisServer::shared(), prefix)
    }

    /// What a server has of that.
    pub(crate) fn count(server: &RedisServer, prefix: &str) -> (i64, i64) {
        const COUNT: &str = "
            local found = {0, 0}
            for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
                local kind = redis.call('HGET', key, 'state') == 'completed' and 1 or 2
                found[kind] = found[kind] + 1
            end
            return found";
        let pattern = format!("{prefix}{{??}}:{}", "?".repeat(64));
        let found = server.command(&["EVAL", COUNT, "0", &pattern]);
        let mut found = found.lines().map(|it| it.parse().unwrap());
        (found.next().unwrap(), found.next().unwrap())
    }
}
