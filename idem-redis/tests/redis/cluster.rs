//! Clusters that fail over, freeze and move slots.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use idem_core::{Claim, Claimed, Recover, Store, StoreError, Written};
use idem_redis::RedisStore;
use idem_testkit::{RedisCluster, RedisServer};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::sleep,
};

use crate::{
    database::Database,
    requests::{LEASE, TTL, claim, is_won, response},
};

/// What clients were told about each key.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<HashMap<String, Told>>>);

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    executions: u32,
    is_done: bool,
}

impl Book {
    fn note(&self, key: &str, what: impl FnOnce(&mut Told)) {
        what(self.0.lock().unwrap().entry(key.to_owned()).or_default());
    }

    fn executed_twice(&self) -> Vec<(String, Told)> {
        let book = self.0.lock().unwrap();
        let twice = book.iter().filter(|(_, told)| told.executions > 1);
        twice.map(|(key, told)| (key.clone(), *told)).collect()
    }

    fn done(&self) -> Vec<String> {
        let book = self.0.lock().unwrap();
        book.iter().filter(|(_, told)| told.is_done).map(|(key, _)| key.clone()).collect()
    }
}

/// Sends each key several times, as clients do that get no answer, until the time is over.
async fn load(store: RedisStore, book: Book, worker: u32, until: Instant) {
    let mut number = 0;
    while Instant::now() < until {
        let key = format!("{worker}-{number}");
        number += 1;
        for _ in 0..3 {
            let claim = Claim { recover: Recover::Hold, ..claim(&key) };
            match store.claim(&claim).await.map(|it| it.claimed) {
                Ok(Claimed::Won { .. }) => book.note(&key, |told| told.executions += 1),
                Ok(Claimed::Completed(_)) => {
                    book.note(&key, |told| told.is_done = true);
                    continue;
                }
                _ => continue,
            }
            if let Ok(Written::Accepted) =
                store.complete(&claim.owner, &response("paid"), TTL).await
            {
                book.note(&key, |told| told.is_done = true);
            }
        }
    }
}

/// The replica is cut off a little before its master dies: what the master alone had is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_loses_nothing_that_a_replica_acknowledged_and_executes_nothing_twice() {
    let cluster = Arc::new(RedisCluster::start());
    let database = Database::on_nodes(&cluster);
    let builder = database.builder().require_replicas(1, Duration::from_millis(200));
    let store = builder.connect().await.unwrap();
    let book = Book::default();
    let until = Instant::now() + Duration::from_secs(8);
    let mut workers = JoinSet::new();
    for worker in 0..16 {
        workers.spawn(load(store.clone(), book.clone(), worker, until));
    }
    sleep(Duration::from_secs(1)).await;
    let before = book.done().len();
    let failing = {
        let cluster = Arc::clone(&cluster);
        spawn_blocking(move || {
            // Frozen, it cannot connect again.
            cluster.nodes()[3].pause();
            cluster.nodes()[0].command(&["CLIENT", "KILL", "TYPE", "replica"]);
            thread::sleep(Duration::from_millis(500));
            cluster.nodes()[0].stop();
            cluster.nodes()[3].resume();
        })
    };
    failing.await.unwrap();
    workers.join_all().await;

    let role = cluster.nodes()[3].command(&["ROLE"]);
    assert!(role.starts_with("master"), "{role}");
    assert!(before > 0 && book.done().len() > before);
    let twice = book.executed_twice();
    assert!(twice.is_empty(), "{twice:?}");
    cluster.nodes()[0].restart();
    cluster.await_health();
    let store = database.store().await;
    for key in book.done() {
        let replayed = store.claim(&claim(&key)).await.unwrap().claimed;
        assert_eq!(replayed, Claimed::Completed(response("paid")), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_is_over_in_time_for_most_requests_and_for_all_that_come_later() {
    let cluster = RedisCluster::start();
    let store = Database::on_nodes(&cluster).store().await;
    let running: Vec<_> = (0..30).map(|it| claim(&it.to_string())).collect();
    for claim in &running {
        assert!(is_won(&store.claim(claim).await.unwrap()));
    }
    for node in cluster.nodes() {
        node.command(&["WAIT", "1", "1000"]);
    }
    sleep(Duration::from_millis(200)).await;
    cluster.nodes()[1].stop();
    let deadline = Instant::now() + Duration::from_secs(20);
    for claim in &running {
        loop {
            match store.renew(&claim.owner, LEASE).await {
                Ok(written) => break assert_eq!(written, Written::Accepted),
                Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
            }
        }
    }
    for claim in &running {
        let written = store.complete(&claim.owner, &response("paid"), TTL).await.unwrap();
        assert_eq!(written, Written::Accepted);
    }
}

/// A node that freezes breaks no connection: its clients find its successor all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_master_is_left_for_its_replica() {
    let cluster = RedisCluster::start();
    let builder = Database::on_nodes(&cluster).builder();
    let store = builder.timeout(Duration::from_secs(2)).connect().await.unwrap();
    for key in 0..20 {
        assert!(is_won(&store.claim(&claim(&format!("before {key}"))).await.unwrap()));
    }
    cluster.nodes()[2].pause();
    let deadline = Instant::now() + Duration::from_secs(30);
    for key in 0..20 {
        let claim = claim(&key.to_string());
        loop {
            match store.claim(&claim).await {
                Ok(claimed) => break assert!(is_won(&claimed)),
                Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
            }
        }
    }
    for key in 20..40 {
        assert!(is_won(&store.claim(&claim(&key.to_string())).await.unwrap()));
    }
    cluster.nodes()[2].resume();
}

/// Slots move from node to node while they are in use, a key at a time.
#[tokio::test(flavor = "multi_thread")]
async fn records_move_with_their_slot() {
    let cluster = RedisCluster::start();
    let database = Database::on_nodes(&cluster);
    let store = database.store().await;
    let first = Claim { recover: Recover::Hold, ..claim("k") };
    let Claimed::Won { fence, .. } = store.claim(&first).await.unwrap().claimed else {
        panic!("not won")
    };
    let slot = cluster.nodes()[0].command(&["CLUSTER", "KEYSLOT", &database.key(&first.owner.id)]);
    let id = |node: usize| cluster.nodes()[node].command(&["CLUSTER", "MYID"]);
    let owner = (0..3).find(|it| {
        let keys = cluster.nodes()[*it].command(&["CLUSTER", "COUNTKEYSINSLOT", &slot]);
        keys != "0"
    });
    let owner = owner.unwrap();
    let target = (owner + 1) % 3;
    let (from, to) = (&cluster.nodes()[owner], &cluster.nodes()[target]);
    to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(owner)]);
    from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(target)]);
    let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
    assert_eq!(keys.lines().count(), 3);
    let port = to.port().to_string();
    let mut renewing = None;
    for (moved, key) in keys.lines().enumerate() {
        from.command(&["MIGRATE", "127.0.0.1", &port, key, "0", "1000"]);
        if moved == 0 {
            // Some of its keys are here and some there: that waits.
            let (store, owner) = (store.clone(), first.owner.clone());
            renewing = Some(tokio::spawn(async move { store.renew(&owner, LEASE).await }));
            sleep(Duration::from_millis(300)).await;
            assert!(!renewing.as_ref().unwrap().is_finished());
        }
    }
    for node in [to, from, &cluster.nodes()[3 - owner - target]] {
        node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id(target)]);
    }
    assert_eq!(renewing.unwrap().await.unwrap().unwrap(), Written::Accepted);
    assert_eq!(store.claim(&claim("k")).await.unwrap().claimed, Claimed::InFlight);
    assert_eq!(store.hold(&first.owner).await.unwrap(), Written::Accepted);
    let held = store.held(None, 10).await.unwrap();
    assert_eq!((held.len(), held[0].fence), (1, fence));
    assert_eq!(to.command(&["CLUSTER", "COUNTKEYSINSLOT", &slot]), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_gone_is_an_error_in_time_and_one_that_is_back_is_used_again() {
    let cluster = RedisCluster::start();
    let builder = Database::on_nodes(&cluster).builder();
    let store = builder.timeout(Duration::from_secs(1)).connect().await.unwrap();
    assert!(is_won(&store.claim(&claim("k")).await.unwrap()));
    cluster.nodes().iter().for_each(RedisServer::stop);
    for _ in 0..3 {
        let asked = Instant::now();
        let error = store.claim(&claim("k")).await.unwrap_err();
        let expected = matches!(error, StoreError::Unavailable(_) | StoreError::Unreachable(_));
        assert!(expected, "{error:?}");
        assert!(asked.elapsed() < Duration::from_millis(1_500), "{:?}", asked.elapsed());
    }
    cluster.nodes().iter().for_each(RedisServer::restart);
    cluster.await_health();
    assert_eq!(store.claim(&claim("k")).await.unwrap().claimed, Claimed::InFlight);
}
