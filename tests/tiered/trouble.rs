//! A cache that dies, freezes and forgets while duplicates come.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use idem::CacheHealth;
use idem_testkit::RedisServer;
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep},
};

use crate::{
    database::Database,
    harness::RedisKeys,
    support::{PATHS, PATIENCE, Service, effects, prepared},
};

/// A Redis server that a test may do anything to.
fn server() -> &'static RedisServer {
    Box::leak(Box::new(RedisServer::start()))
}

/// Two processes, and what they share.
struct Site {
    database: Database,
    server: &'static RedisServer,
    services: [Service; 2],
}

impl Site {
    async fn open() -> Self {
        let (database, server) = (prepared(Database::fresh().await).await, server());
        let keys = RedisKeys::on(server);
        let one = Service::with(keys.cache(), &database).await;
        let other = Service::with(keys.cache(), &database).await;
        Self { database, server, services: [one, other] }
    }

    /// Sends duplicates of new requests and of old ones to both processes until it is stopped, and
    /// says how many different requests there were.
    fn traffic(&self, stop: &Arc<AtomicBool>) -> JoinHandle<i64> {
        let ([one, other], stop) = (self.services.clone(), Arc::clone(stop));
        tokio::spawn(async move {
            let mut requests = 0;
            while !stop.load(Ordering::Relaxed) {
                for path in PATHS {
                    requests += 1;
                    let key = format!("{requests}");
                    one.all_alike(&[&other], path, &key, 12).await;
                    let old = 1 + 2 * (requests / 4);
                    one.all_alike(&[&other], PATHS[0], &old.to_string(), 2).await;
                }
            }
            requests
        })
    }

    /// Does something to the server while requests come, and asserts that none of them suffers.
    async fn while_requests_come(&self, trouble: impl FnOnce(&RedisServer) + Send + 'static) {
        let stop = Arc::new(AtomicBool::new(false));
        let traffic = self.traffic(&stop);
        let server = self.server;
        spawn_blocking(move || trouble(server)).await.unwrap();
        stop.store(true, Ordering::Relaxed);
        let requests = traffic.await.unwrap();
        assert_eq!(effects(&self.database).await, requests, "each request ran once");
        assert!(requests > 10, "{requests} requests came");
    }

    async fn is(&self, health: CacheHealth) {
        let start = Instant::now();
        for service in &self.services {
            while service.idem.health().await.unwrap().cache != health {
                assert!(start.elapsed() < PATIENCE, "the cache is not {health:?}");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn a_while() {
    std::thread::sleep(Duration::from_millis(700));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_is_killed_costs_no_request_its_answer() {
    let site = Site::open().await;
    site.while_requests_come(|server| {
        a_while();
        server.stop();
        a_while();
        a_while();
        server.restart();
        a_while();
        a_while();
    })
    .await;
    site.is(CacheHealth::Up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_freezes_costs_no_request_its_answer() {
    let site = Site::open().await;
    site.while_requests_come(|server| {
        for _ in 0..2 {
            a_while();
            server.pause();
            a_while();
            a_while();
            server.resume();
        }
        a_while();
        a_while();
    })
    .await;
    site.is(CacheHealth::Up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_is_flushed_costs_no_request_its_answer() {
    let site = Site::open().await;
    site.while_requests_come(|server| {
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(100));
            server.command(&["FLUSHALL"]);
        }
    })
    .await;
    site.is(CacheHealth::Up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_takes_nothing_costs_no_request_its_answer() {
    let site = Site::open().await;
    site.while_requests_come(|server| {
        a_while();
        server.command(&["CONFIG", "SET", "maxmemory", "1"]);
        a_while();
        server.command(&["CONFIG", "SET", "maxmemory", "0"]);
        a_while();
    })
    .await;
    site.is(CacheHealth::Up).await;
}

/// Whoever starts while the cache is down uses it when it is up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_comes_up_late_is_used_then() {
    let server = server();
    server.stop();
    let keys = RedisKeys::on(server);
    let database = prepared(Database::fresh().await).await;
    let service = Service::with(keys.cache(), &database).await;
    for path in PATHS {
        service.all_alike(&[], path, "k", 10).await;
    }
    let restarting = spawn_blocking(move || server.restart());
    restarting.await.unwrap();
    let start = Instant::now();
    while server.command(&["DBSIZE"]) == "0" {
        assert!(start.elapsed() < PATIENCE, "the cache is not used");
        for path in PATHS {
            assert!(service.send(path, "k").await.is_replay());
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(effects(&database).await, 2);
}
