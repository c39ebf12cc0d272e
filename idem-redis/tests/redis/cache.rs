//! `RedisCache` on servers and clusters, and on what is neither.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use idem_core::Cache;
use idem_redis::{RedisCache, SetupError};
use idem_testkit::{RedisCluster, RedisServer};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::faults::Name;

const HOUR: Duration = Duration::from_hours(1);

async fn value(cache: &RedisCache, key: u8) -> Option<Bytes> {
    cache.get(&[key; 32]).await.unwrap().map(|it| it.value)
}

async fn put(cache: &RedisCache, key: u8, value: &'static str) {
    cache.put(&[key; 32], value.into(), Instant::now() + HOUR).await.unwrap();
}

async fn works(cache: &RedisCache) {
    cache.check().await.unwrap();
    for key in [1, 2, 255] {
        assert_eq!(value(cache, key).await, None);
        put(cache, key, "a").await;
        put(cache, key, "b").await;
        let found = cache.get(&[key; 32]).await.unwrap().unwrap();
        assert_eq!(found.value, "b");
        assert!((HOUR / 2..HOUR).contains(&found.expires_in), "{found:?}");
        // Its time has passed.
        cache.put(&[key; 32], "c".into(), Instant::now()).await.unwrap();
        assert_eq!(value(cache, key).await, None);
    }
}

#[tokio::test]
async fn values_are_kept_on_a_server_until_their_time_has_passed() {
    let server = RedisServer::shared();
    let open = |prefix: &str| RedisCache::builder(server.url()).prefix(prefix).open().unwrap();
    let (one, other) = (open(&server.fresh_prefix()), open(&server.fresh_prefix()));
    works(&one).await;
    put(&one, 1, "of one").await;
    works(&other).await;
    assert_eq!(value(&one, 1).await.unwrap(), "of one");
}

#[tokio::test]
async fn values_are_kept_on_a_cluster_until_their_time_has_passed() {
    let cluster = RedisCluster::shared();
    let builder = RedisCache::cluster(cluster.urls()).prefix(cluster.fresh_prefix());
    works(&builder.open().unwrap()).await;
}

#[tokio::test]
async fn few_rights_suffice() {
    let server = RedisServer::start();
    let rights = ["ACL", "SETUSER", "modest", "on", ">hunter2", "~idem-cache:*"];
    let commands = ["+time", "+get", "+pttl", "+set"];
    assert_eq!(server.command(&[&rights[..], &commands].concat()), "OK");
    let url = server.url().replace("redis://", "redis://modest:hunter2@");
    works(&RedisCache::open(&url).unwrap()).await;
}

#[tokio::test]
async fn a_cache_is_opened_without_its_server_and_used_once_that_is_there() {
    let server = RedisServer::start();
    let cache = RedisCache::open(&server.url()).unwrap();
    for _ in 0..2 {
        let server = &server;
        server.stop();
        assert!(cache.get(&[1; 32]).await.is_err());
        assert!(cache.put(&[1; 32], "a".into(), Instant::now() + HOUR).await.is_err());
        assert!(cache.check().await.is_err());
        server.restart();
        works(&cache).await;
    }
}

/// Nobody waits for as long as connecting takes: it goes on when all have given up.
#[tokio::test]
async fn a_connection_is_made_although_everybody_gives_up() {
    let server = RedisServer::start();
    let cache = RedisCache::open(&server.url()).unwrap();
    server.pause();
    let given_up = tokio::time::timeout(Duration::from_millis(1), cache.get(&[1; 32])).await;
    assert!(given_up.is_err());
    server.resume();
    let clients = || server.command(&["CLIENT", "LIST", "TYPE", "normal"]).lines().count();
    // One is that of `redis-cli`.
    let start = Instant::now();
    while clients() < 2 {
        assert!(start.elapsed() < Duration::from_mins(1), "nobody connects");
        sleep(Duration::from_millis(10)).await;
    }
    works(&cache).await;
    assert_eq!(clients(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_left_for_the_one_that_has_its_name() {
    let (one, other) = (RedisServer::start(), RedisServer::start());
    let name = Name::of(&one).await;
    let cache = RedisCache::open(&format!("redis://127.0.0.1:{}", name.port)).unwrap();
    works(&cache).await;
    let one = spawn_blocking(move || {
        one.pause();
        one
    });
    let one = one.await.unwrap();
    name.leads_to(&other);
    let given_up = tokio::time::timeout(Duration::from_millis(50), cache.get(&[1; 32])).await;
    assert!(given_up.is_err());
    works(&cache).await;
    one.resume();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_became_a_replica_is_left_for_the_one_that_has_its_name() {
    let (one, other) = (RedisServer::start(), RedisServer::start());
    let name = Name::of(&one).await;
    let cache = RedisCache::open(&format!("redis://127.0.0.1:{}", name.port)).unwrap();
    works(&cache).await;
    one.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    name.leads_to(&other);
    assert!(cache.put(&[1; 32], "a".into(), Instant::now() + HOUR).await.is_err());
    put(&cache, 1, "a").await;
    assert_ne!(other.command(&["DBSIZE"]), "0");
}

#[tokio::test]
async fn what_is_no_url_or_prefix_is_refused_and_no_password_is_shown() {
    for url in ["", "redis", "}{", "http://localhost", "redis://u:hunter2@127.0.0.1:port"] {
        let error = RedisCache::open(url).unwrap_err();
        assert!(matches!(error, SetupError::Connect(_)), "{url}: {error:?}");
        let source = error.source().map(ToString::to_string);
        assert!(!format!("{error} {error:?} {source:?}").contains("hunter2"), "{error:?}");
    }
    let builder = RedisCache::builder("redis://u:hunter2@127.0.0.1:1");
    assert!(!format!("{builder:?}").contains("hunter2"));
    let cache = builder.open().unwrap();
    let error = cache.get(&[1; 32]).await.unwrap_err();
    let shown = format!("{cache:?} {error} {error:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let refused = RedisCache::builder("redis://127.0.0.1").prefix("{").open().unwrap_err();
    assert!(matches!(refused, SetupError::Prefix { .. }), "{refused:?}");
}
