//! Servers that stop, restart, freeze and forget.

use std::time::{Duration, Instant};

use idem_core::{Claimed, Store, StoreError, Written};
use idem_redis::RedisStore;
use idem_testkit::RedisServer;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

use crate::{
    database::Database,
    requests::{LEASE, TTL, claim, id, is_won, response},
};

#[tokio::test]
async fn scripts_that_a_server_has_forgotten_are_brought_again() {
    let server = RedisServer::start();
    let store = Database::on(&server).store().await;
    for round in 0..3 {
        let key = round.to_string();
        let first = claim(&key);
        let flush = || server.command(&["SCRIPT", "FLUSH"]);
        assert!(is_won(&store.claim(&first).await.unwrap()));
        flush();
        assert_eq!(store.renew(&first.owner, LEASE).await.unwrap(), Written::Accepted);
        flush();
        let written = store.complete(&first.owner, &response("paid"), TTL).await.unwrap();
        assert_eq!(written, Written::Accepted);
        flush();
        assert!(store.get(&id(&key)).await.unwrap().is_some());
        flush();
        assert_eq!(store.held(None, 10).await.unwrap(), []);
        flush();
        assert_eq!(store.not_in_flight(&[id(&key)]).await.unwrap(), [id(&key)]);
    }
}

/// Once a server knows a script, its text is not sent again.
#[tokio::test]
async fn scripts_are_known_by_their_digest() {
    let server = RedisServer::start();
    let store = Database::on(&server).store().await;
    let calls = |command: &str| {
        let stats = server.command(&["INFO", "commandstats"]);
        let line =
            stats.lines().find_map(|it| it.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |it| it.split(',').next().unwrap().parse::<u32>().unwrap())
    };
    for key in 0..10 {
        assert!(is_won(&store.claim(&claim(&key.to_string())).await.unwrap()));
    }
    assert_eq!(calls("eval"), 1);
    assert!(calls("evalsha") >= 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_that_wrote_everything_down_goes_on_as_if_nothing_had_been() {
    let server = RedisServer::start();
    let database = Database::on(&server);
    let store = database.store().await;
    let (running, done) = (claim("running"), claim("done"));
    // Options of the command line are back after each start.
    server.command(&["CONFIG", "SET", "appendfsync", "always"]);
    assert!(is_won(&store.claim(&running).await.unwrap()));
    assert!(is_won(&store.claim(&done).await.unwrap()));
    let written = store.complete(&done.owner, &response("paid"), TTL).await.unwrap();
    assert_eq!(written, Written::Accepted);
    for _ in 0..3 {
        server.restart();
        assert_eq!(store.renew(&running.owner, LEASE).await.unwrap(), Written::Accepted);
        assert_eq!(store.claim(&claim("running")).await.unwrap().claimed, Claimed::InFlight);
        let replayed = store.claim(&claim("done")).await.unwrap().claimed;
        assert_eq!(replayed, Claimed::Completed(response("paid")));
        assert_eq!(store.get(&done.owner.id).await.unwrap().unwrap().attempt, done.owner.attempt);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_under_load_costs_no_request_its_answer() {
    let server = RedisServer::start();
    let store = Database::on(&server).store().await;
    let until = Instant::now() + Duration::from_secs(2);
    let mut workers = JoinSet::new();
    for worker in 0..8 {
        let store = store.clone();
        workers.spawn(async move {
            let mut done = 0;
            while Instant::now() < until {
                let claim = claim(&format!("{worker}-{done}"));
                assert!(is_won(&store.claim(&claim).await.unwrap()));
                let written = store.complete(&claim.owner, &response("paid"), TTL).await.unwrap();
                assert_eq!(written, Written::Accepted);
                done += 1;
            }
            done
        });
    }
    sleep(Duration::from_millis(500)).await;
    let restarting = spawn_blocking(move || {
        server.restart();
        server
    });
    let _server = restarting.await.unwrap();
    let done: i64 = workers.join_all().await.into_iter().sum();
    assert!(done > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_is_an_error_in_time_and_a_started_one_is_used_again() {
    let server = RedisServer::start();
    let database = Database::on(&server);
    let store = database.builder().timeout(Duration::from_millis(600)).connect().await.unwrap();
    assert!(is_won(&store.claim(&claim("before")).await.unwrap()));

    server.stop();
    let asked = Instant::now();
    let error = store.claim(&claim("k")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    // From then on it is known that nothing is sent.
    let error = store.claim(&claim("k")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");

    server.restart();
    assert!(is_won(&store.claim(&claim("k")).await.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_was_given_up_does_not_happen_when_a_frozen_server_goes_on() {
    let server = RedisServer::start();
    let database = Database::on(&server);
    let store = database.builder().timeout(Duration::from_secs(1)).connect().await.unwrap();
    // The clock of the shard is known.
    assert!(is_won(&store.claim(&claim("k")).await.unwrap()));
    let _: u64 = database.command(&["DEL", &database.key(&id("k"))]).await;

    server.pause();
    let asked = Instant::now();
    let claim_in_vain = claim("k");
    let given_up = timeout(Duration::from_millis(300), store.claim(&claim_in_vain)).await;
    assert!(given_up.is_err(), "{given_up:?}");
    let error = store.claim(&claim("k")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    sleep(
        (store.server_timeout().unwrap() + Duration::from_millis(300))
            .saturating_sub(asked.elapsed()),
    )
    .await;
    server.resume();
    assert_eq!(store.get(&id("k")).await.unwrap(), None);
    assert!(is_won(&store.claim(&claim("k")).await.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_that_goes_on_in_time_costs_no_request_its_answer() {
    let server = RedisServer::start();
    let store = Database::on(&server).store().await;
    assert!(is_won(&store.claim(&claim("before")).await.unwrap()));
    server.pause();
    let mut tasks = JoinSet::new();
    for number in 0..30 {
        let store = store.clone();
        tasks.spawn(async move { store.claim(&claim(&number.to_string())).await.unwrap() });
    }
    // Some were sent to a connection that was given up since.
    sleep(Duration::from_millis(2_500)).await;
    server.resume();
    assert!(tasks.join_all().await.iter().all(is_won));
}

/// A name that leads to another server from now on: connections that are there stay where they are.
pub(crate) struct Name {
    pub(crate) port: u16,
    target: watch::Sender<u16>,
}

impl Name {
    pub(crate) async fn of(server: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (target, targets) = watch::channel(server.port());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let port = *targets.borrow();
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
            }
        });
        Self { port, target }
    }

    pub(crate) fn leads_to(&self, server: &RedisServer) {
        self.target.send(server.port()).unwrap();
    }
}

/// As managed services fail over.
#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_became_a_replica_is_left_for_the_one_that_has_its_name() {
    let (one, other) = (RedisServer::start(), RedisServer::start());
    let name = Name::of(&one).await;
    let store = RedisStore::connect(&format!("redis://127.0.0.1:{}", name.port)).await.unwrap();
    assert!(is_won(&store.claim(&claim("before")).await.unwrap()));
    one.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    name.leads_to(&other);
    assert!(is_won(&store.claim(&claim("after")).await.unwrap()));
    assert!(other.command(&["DBSIZE"]) != "0");
}
