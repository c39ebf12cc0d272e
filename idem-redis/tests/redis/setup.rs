//! Connecting, and what servers say of themselves.

use std::{
    error::Error,
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use idem_core::{Claim, Claimed, Recover, Resolution, Store, StoreError, Written};
use idem_redis::{RedisStore, SetupError};
use idem_testkit::{RedisCluster, RedisServer};
use tokio::time::{sleep, timeout};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    database::Database,
    listening::{announcements, execute, heard},
    requests::{TTL, claim, id, is_won, response},
};

pub(crate) async fn works(store: &RedisStore) {
    let first = claim("k");
    assert!(is_won(&store.claim(&first).await.unwrap()));
    let written = store.complete(&first.owner, &response("paid"), TTL).await.unwrap();
    assert_eq!(written, Written::Accepted);
    assert_eq!(
        store.claim(&claim("k")).await.unwrap().claimed,
        Claimed::Completed(response("paid"))
    );
}

/// What is logged in this thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn listen(&self) -> DefaultGuard {
        let subscriber = tracing_subscriber::fmt().with_writer(self.clone()).with_ansi(false);
        tracing::subscriber::set_default(subscriber.finish())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The whole of an error, with all its sources.
fn in_full(error: &dyn Error) -> String {
    let this = format!("{error} {error:?} ");
    this + &error.source().map(in_full).unwrap_or_default()
}

#[tokio::test]
async fn a_url_is_all_it_takes() {
    let server = RedisServer::start();
    works(&RedisStore::connect(&server.url()).await.unwrap()).await;
    let keys = server.command(&["KEYS", "*"]);
    assert!(keys.lines().all(|it| it.starts_with("idem:{")), "{keys}");
}

#[tokio::test]
async fn prefixes_part_services_that_share_a_server() {
    let server = RedisServer::start();
    for prefix in ["", "a:", "b:"] {
        let store = RedisStore::builder(server.url()).prefix(prefix).connect().await.unwrap();
        works(&store).await;
    }
}

#[tokio::test]
async fn a_database_of_a_server_can_be_chosen() {
    let server = RedisServer::start();
    works(&RedisStore::connect(&format!("{}/3", server.url())).await.unwrap()).await;
    assert_eq!(server.command(&["DBSIZE"]), "0");
    works(&RedisStore::connect(&format!("{}/?protocol=resp3", server.url())).await.unwrap()).await;
}

#[tokio::test]
async fn any_node_leads_to_the_whole_cluster() {
    let cluster = RedisCluster::shared();
    for url in cluster.urls() {
        let builder = RedisStore::cluster([url]).prefix(cluster.fresh_prefix());
        let store = builder.connect().await.unwrap();
        for key in 0..20 {
            assert!(is_won(&store.claim(&claim(&key.to_string())).await.unwrap()));
        }
    }
}

#[tokio::test]
async fn a_node_of_a_cluster_is_no_single_server() {
    let refused = RedisStore::connect(&RedisCluster::shared().urls()[0]).await;
    assert!(matches!(refused, Err(SetupError::IsCluster)), "{refused:?}");
    let refused = RedisStore::cluster([RedisServer::shared().url()]).connect().await;
    assert!(matches!(refused, Err(SetupError::Connect(_))), "{refused:?}");
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let builder = || RedisStore::builder("redis://127.0.0.1:1").timeout(Duration::from_millis(400));
    let refused = builder().prefix("a{b").connect().await;
    assert!(matches!(refused, Err(SetupError::Prefix { .. })), "{refused:?}");
    for timeout in [Duration::ZERO, Duration::from_millis(9), Duration::MAX] {
        let refused = builder().timeout(timeout).connect().await;
        assert!(matches!(refused, Err(SetupError::Timeout(it)) if it == timeout), "{refused:?}");
    }
    for (number, within) in [
        (0, Duration::from_millis(100)),
        (1, Duration::ZERO),
        (1, Duration::from_micros(100_500)),
        (1, Duration::from_millis(200)),
    ] {
        let refused = builder().require_replicas(number, within).connect().await;
        assert!(matches!(refused, Err(SetupError::Replicas { .. })), "{refused:?}");
    }
    let refused = builder().max_connections(0).connect().await;
    assert!(matches!(refused, Err(SetupError::NoConnections)), "{refused:?}");
    let refused = builder().connect().await;
    assert!(matches!(refused, Err(SetupError::Connect(_))), "{refused:?}");
    let refused = RedisStore::connect("http://127.0.0.1").await;
    assert!(matches!(refused, Err(SetupError::Connect(_))), "{refused:?}");
    let refused = RedisStore::cluster([""; 0]).connect().await;
    assert!(matches!(refused, Err(SetupError::Connect(_))), "{refused:?}");
}

#[tokio::test]
async fn connecting_to_a_frozen_server_ends_in_time() {
    let server = RedisServer::start();
    server.pause();
    let asked = Instant::now();
    let timeout = Duration::from_millis(500);
    assert!(RedisStore::builder(server.url()).timeout(timeout).connect().await.is_err());
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    server.resume();
}

#[tokio::test]
async fn a_server_that_may_evict_records_is_told_of_or_refused() {
    let server = RedisServer::start();
    let log = Log::default();
    let _guard = log.listen();
    let builder = || RedisStore::builder(server.url());
    for policy in ["allkeys-lru", "volatile-lru", "volatile-ttl"] {
        server.command(&["CONFIG", "SET", "maxmemory-policy", policy]);
        builder().refuse_eviction().connect().await.unwrap();
    }
    assert_eq!(log.text(), "");

    server.command(&["CONFIG", "SET", "maxmemory", "100mb"]);
    let refused = builder().refuse_eviction().connect().await;
    assert!(
        matches!(&refused, Err(SetupError::Evicts { policy }) if policy == "volatile-ttl"),
        "{refused:?}"
    );
    assert_eq!(log.text(), "");
    works(&builder().connect().await.unwrap()).await;
    let text = log.text();
    assert!(text.contains("WARN") && text.contains("volatile-ttl"), "{text}");

    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    builder().refuse_eviction().connect().await.unwrap();
    assert_eq!(log.text(), text);
}

#[tokio::test]
async fn every_master_of_a_cluster_is_looked_at() {
    let cluster = RedisCluster::start();
    let builder = || RedisStore::cluster(cluster.urls()).refuse_eviction();
    builder().connect().await.unwrap();
    for node in &cluster.nodes()[..3] {
        node.command(&["CONFIG", "SET", "maxmemory", "100mb"]);
        node.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
        let refused = builder().connect().await;
        assert!(matches!(refused, Err(SetupError::Evicts { .. })), "{refused:?}");
        node.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    }
    builder().connect().await.unwrap();
}

#[tokio::test]
async fn a_server_that_forbids_config_is_looked_at_all_the_same() {
    let server = RedisServer::start();
    let user = ["ACL", "SETUSER", "default", "-config"];
    server.command(&["CONFIG", "SET", "maxmemory", "100mb"]);
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    server.command(&user);
    assert!(server.command(&["CONFIG", "GET", "maxmemory"]).contains("NOPERM"));
    let refused = RedisStore::builder(server.url()).refuse_eviction().connect().await;
    assert!(matches!(refused, Err(SetupError::Evicts { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_server_that_tells_nothing_is_told_of_or_refused() {
    let server = RedisServer::start();
    server.command(&["ACL", "SETUSER", "default", "-config", "-info"]);
    let log = Log::default();
    let _guard = log.listen();
    let refused = RedisStore::builder(server.url()).refuse_eviction().connect().await;
    assert!(matches!(refused, Err(SetupError::EvictionUnknown)), "{refused:?}");
    assert_eq!(log.text(), "");
    works(&RedisStore::connect(&server.url()).await.unwrap()).await;
    assert!(log.text().contains("does not tell its maxmemory-policy"), "{}", log.text());
}

const RIGHTS: &str = "~idem:* +eval +evalsha +time +hmget +hget +hset +hdel +exists +del +persist \
                      +pexpireat +get +set +zadd +zrem +zrangebyscore";

/// Lets a user do so much and no more, and returns the URL for it.
fn grant(server: &RedisServer, more: &str) -> String {
    let mut command = vec!["ACL", "SETUSER", "modest", "on", ">hunter2"];
    command.extend(RIGHTS.split(' ').chain(more.split_whitespace()));
    assert_eq!(server.command(&command), "OK");
    server.url().replace("redis://", "redis://modest:hunter2@")
}

async fn does_everything(store: &RedisStore) {
    works(store).await;
    let first = Claim { recover: Recover::Hold, ..claim("held") };
    store.claim(&first).await.unwrap();
    assert_eq!(store.renew(&first.owner, TTL).await.unwrap(), Written::Accepted);
    assert_eq!(store.not_in_flight(&[id("held")]).await.unwrap(), []);
    assert_eq!(store.hold(&first.owner).await.unwrap(), Written::Accepted);
    assert_eq!(store.held(None, 10).await.unwrap().len(), 1);
    let failed = Resolution::Failed { ttl: TTL };
    assert_eq!(store.resolve(&first.owner, &failed).await.unwrap(), Written::Accepted);
    let second = claim("held");
    assert!(is_won(&store.claim(&second).await.unwrap()));
    assert_eq!(store.release(&second.owner).await.unwrap(), Written::Accepted);
    assert!(store.get(&id("held")).await.unwrap().is_none());
}

#[tokio::test]
async fn few_rights_suffice() {
    let server = RedisServer::start();
    let store = RedisStore::connect(&grant(&server, "")).await.unwrap();
    does_everything(&store).await;
    server.command(&["ACL", "SETUSER", "modest", "-hset"]);
    let error = store.claim(&claim("other")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn few_rights_suffice_on_a_cluster_with_replicas() {
    let cluster = RedisCluster::start();
    let rights = "+cluster|slots +ping +asking +wait +info";
    let urls: Vec<_> = cluster.nodes().iter().map(|it| grant(it, rights)).collect();
    let builder = RedisStore::cluster(urls).require_replicas(1, Duration::from_secs(1));
    does_everything(&builder.refuse_eviction().connect().await.unwrap()).await;
}

/// Those of the store, and four more.
#[tokio::test]
async fn few_rights_suffice_to_listen() {
    let rights = "&idem:* +ssubscribe +spublish +ping";
    let server = RedisServer::start();
    let cluster = RedisCluster::start();
    let on_cluster = format!("{rights} +cluster|slots +asking +wait +info");
    let urls: Vec<_> = cluster.nodes().iter().map(|it| grant(it, &on_cluster)).collect();
    let on_cluster = RedisStore::cluster(urls);
    for builder in [RedisStore::builder(grant(&server, rights)), on_cluster] {
        let store = builder.connect().await.unwrap();
        let mut announcements = announcements(&store).await;
        let digest = execute(&store, "k").await;
        assert_eq!(heard(&mut announcements, digest).await, 0);
        // For longer than it takes to find that a server is gone.
        sleep(Duration::from_secs(6)).await;
        let digest = execute(&store, "later").await;
        assert_eq!(heard(&mut announcements, digest).await, 0);
        let again = timeout(Duration::from_millis(1), announcements.next()).await;
        assert!(again.is_err(), "{again:?}");
    }
}

#[tokio::test]
async fn neither_errors_nor_debug_output_show_a_password() {
    let server = RedisServer::start();
    server.command(&["CONFIG", "SET", "requirepass", "correct-horse"]);
    let log = Log::default();
    let _guard = log.listen();
    let url = |password: &str| server.url().replace("redis://", &format!("redis://:{password}@"));
    let mut shown = Vec::new();
    for url in
        [url("hunter2"), url("hunter2").replace("127.0.0.1:", "127.0.0.1:x"), url("hunter2/")]
    {
        let builder = RedisStore::builder(url.as_str());
        shown.push(format!("{builder:?}"));
        shown.push(in_full(&builder.connect().await.unwrap_err()));
        let builder = RedisStore::cluster([url]);
        shown.push(format!("{builder:?}"));
        shown.push(in_full(&builder.connect().await.unwrap_err()));
    }
    let store = RedisStore::connect(&url("correct-horse")).await.unwrap();
    works(&store).await;
    shown.push(format!("{store:?}"));
    server.command(&["-a", "correct-horse", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    server.command(&["-a", "correct-horse", "CONFIG", "SET", "requirepass", "another"]);
    shown.push(in_full(&store.claim(&claim("other")).await.unwrap_err()));
    shown.push(log.text());
    for text in shown {
        assert!(!text.contains("hunter2") && !text.contains("correct-horse"), "{text}");
    }
}

#[tokio::test]
async fn a_full_server_is_an_error_of_its_own_and_nothing_is_written() {
    let server = RedisServer::start();
    let database = Database::on(&server);
    let store = database.store().await;
    works(&store).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = store.claim(&claim("other")).await.unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert_eq!(
        store.claim(&claim("k")).await.unwrap().claimed,
        Claimed::Completed(response("paid"))
    );
    assert_eq!(store.get(&id("other")).await.unwrap(), None);
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert!(is_won(&store.claim(&claim("other")).await.unwrap()));
}

/// Otherwise executions would lose their leases while nobody can claim, and run beside the next ones
/// as soon as somebody can.
#[tokio::test]
async fn a_full_server_renews_and_ends_what_runs() {
    let server = RedisServer::start();
    let store = Database::on(&server).store().await;
    let [completed, failed, held, released, resolved] =
        ["completed", "failed", "held", "released", "resolved"].map(claim);
    for claim in [&completed, &failed, &held, &released, &resolved] {
        assert!(is_won(&store.claim(claim).await.unwrap()));
    }
    assert_eq!(store.hold(&resolved.owner).await.unwrap(), Written::Accepted);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = store.claim(&claim("other")).await;
    assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}");
    for claim in [&completed, &failed, &held, &released] {
        assert_eq!(store.renew(&claim.owner, TTL).await.unwrap(), Written::Accepted);
    }
    for written in [
        store.complete(&completed.owner, &response("paid"), TTL).await,
        store.fail(&failed.owner, TTL).await,
        store.hold(&held.owner).await,
        store.release(&released.owner).await,
        store.resolve(&resolved.owner, &Resolution::Failed { ttl: TTL }).await,
    ] {
        assert_eq!(written.unwrap(), Written::Accepted);
    }
    let replayed = store.claim(&claim("completed")).await.unwrap().claimed;
    assert_eq!(replayed, Claimed::Completed(response("paid")));
}

/// It may be a master one day.
#[tokio::test]
async fn every_replica_of_a_cluster_is_looked_at() {
    let cluster = RedisCluster::start();
    let builder = || RedisStore::cluster(cluster.urls()).refuse_eviction();
    for node in &cluster.nodes()[3..] {
        node.command(&["CONFIG", "SET", "maxmemory", "100mb"]);
        node.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
        let refused = builder().connect().await;
        assert!(matches!(refused, Err(SetupError::Evicts { .. })), "{refused:?}");
        node.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    }
    // One that is gone is in nobody's way.
    cluster.nodes()[5].stop();
    builder().connect().await.unwrap();
}
