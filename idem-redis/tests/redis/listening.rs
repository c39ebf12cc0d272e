//! Stores that hear what has ended in other processes.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use idem_core::{Announced, Announcements, RecordId, Store, StoreError, Written};
use idem_redis::RedisStore;
use idem_testkit::{Fault, FaultProxy, RedisCluster, RedisServer};
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, Value};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{sleep, timeout},
};

use crate::{
    database::Database,
    requests::{TTL, claim, id, is_won, response},
    setup::{Log, works},
};

const PATIENCE: Duration = Duration::from_mins(1);

/// Executes, and says which record it was.
pub(crate) async fn execute(store: &RedisStore, key: &str) -> [u8; 32] {
    let claim = claim(key);
    assert!(is_won(&store.claim(&claim).await.unwrap()));
    let written = store.complete(&claim.owner, &response("paid"), TTL).await.unwrap();
    assert_eq!(written, Written::Accepted);
    *claim.owner.id.digest()
}

/// Waits until the ending of this record is announced, and says how many others were before it.
pub(crate) async fn heard(announcements: &mut Announcements, digest: [u8; 32]) -> usize {
    let heard = async {
        let mut others = 0;
        loop {
            match announcements.next().await {
                Announced::Ended(it) if it == digest => return others,
                Announced::Ended(_) => others += 1,
                Announced::Lost => {}
            }
        }
    };
    timeout(PATIENCE, heard).await.expect("the ending is announced")
}

pub(crate) async fn heard_that_something_was_lost(announcements: &mut Announcements) {
    let lost = async { while announcements.next().await != Announced::Lost {} };
    timeout(PATIENCE, lost).await.expect("it is announced that something was lost");
}

/// From the moment on when it has subscribed.
pub(crate) async fn announcements(store: &RedisStore) -> Announcements {
    let mut announcements = store.announcements().unwrap();
    heard_that_something_was_lost(&mut announcements).await;
    announcements
}

/// How many connections to a server are subscribed to something.
pub(crate) fn subscribers(server: &RedisServer) -> usize {
    let connections = server.command(&["CLIENT", "LIST"]);
    connections.lines().filter(|it| !it.contains(" ssub=0 ")).count()
}

pub(crate) async fn await_subscribers(server: &RedisServer, number: usize) {
    let so_many = async {
        while subscribers(server) != number {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, so_many).await.expect("so many are subscribed");
}

/// Ends the connections of all who listen.
pub(crate) fn kill_subscribers(server: &RedisServer) -> usize {
    let killed = server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    killed.parse().unwrap()
}

fn calls(server: &RedisServer, command: &str) -> usize {
    let stats = server.command(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|it| it.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |it| it.split(',').next().unwrap().parse().unwrap())
}

/// Somebody else who listens to the channel of a record.
struct Eavesdropper {
    _connection: redis::aio::MultiplexedConnection,
    pushes: UnboundedReceiver<PushInfo>,
}

impl Eavesdropper {
    async fn on(database: &Database, server: &RedisServer, id: &RecordId) -> Self {
        let (sender, pushes) = unbounded_channel();
        let client = Client::open(format!("{}/?protocol=resp3", server.url())).unwrap();
        let config = AsyncConnectionConfig::new().set_push_sender(sender);
        let mut connection =
            client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
        let channel = database.beside(id, "ended:0");
        let mut subscribe = redis::cmd("SSUBSCRIBE");
        let _: Value = subscribe.arg(channel).query_async(&mut connection).await.unwrap();
        Self { _connection: connection, pushes }
    }

    /// What was told so far.
    fn messages(&mut self) -> Vec<Vec<Value>> {
        std::iter::from_fn(|| self.pushes.try_recv().ok())
            .filter(|it| it.kind == PushKind::SMessage)
            .map(|it| it.data)
            .collect()
    }

    async fn next(&mut self) -> Vec<Value> {
        let next = async {
            loop {
                let push = self.pushes.recv().await.unwrap();
                if push.kind == PushKind::SMessage {
                    return push.data;
                }
            }
        };
        timeout(PATIENCE, next).await.expect("something is told")
    }
}

#[tokio::test]
async fn nobody_listens_before_somebody_wants_to_know() {
    let server = RedisServer::start();
    let store = Database::on(&server).store().await;
    works(&store).await;
    assert_eq!(subscribers(&server), 0);
    let announcements = announcements(&store).await;
    assert_eq!(subscribers(&server), 1);
    drop(announcements);
    await_subscribers(&server, 0).await;
}

#[tokio::test]
async fn one_subscription_is_for_all_who_listen_in_a_process() {
    let server = RedisServer::start();
    let store = Database::on(&server).store().await;
    for round in 0..3 {
        let mut first = announcements(&store).await;
        let mut others = [(); 3].map(|()| store.announcements().unwrap());
        // That of the round before may take a moment to go.
        await_subscribers(&server, 1).await;
        let digest = execute(&store, &round.to_string()).await;
        assert_eq!(heard(&mut first, digest).await, 0);
        for other in &mut others {
            assert_eq!(heard(other, digest).await, 0);
        }
        drop(first);
        let digest = execute(&store, &format!("later {round}")).await;
        assert_eq!(heard(&mut others[0], digest).await, 0);
    }
}

#[tokio::test]
async fn a_store_that_is_gone_leaves_no_subscription() {
    let server = RedisServer::start();
    let store = Database::on(&server).store().await;
    let clone = store.clone();
    let announcements = announcements(&store).await;
    drop(store);
    assert_eq!(subscribers(&server), 1);
    drop(clone);
    await_subscribers(&server, 0).await;
    drop(announcements);
}

#[tokio::test]
async fn a_store_that_only_polls_tells_nothing_and_hears_nothing() {
    let server = RedisServer::start();
    let database = Database::on(&server);
    let store = database.builder().poll_only().connect().await.unwrap();
    assert!(store.announcements().is_none());
    works(&store).await;
    assert_eq!(calls(&server, "spublish"), 0);
    works(&Database::on(&server).store().await).await;
    assert_eq!(calls(&server, "spublish"), 1);
}

/// It costs the server no command but the script.
#[tokio::test]
async fn an_ending_is_told_by_the_script_that_writes_it() {
    let server = RedisServer::start();
    let database = Database::on(&server);
    let store = database.store().await;
    works(&store).await;
    let monitored = tokio::spawn({
        let url = server.url();
        async move {
            let monitor = Client::open(url).unwrap().get_async_monitor().await.unwrap();
            let mut lines = monitor.into_on_message::<String>();
            let mut seen = Vec::new();
            while let Some(line) = futures_util::StreamExt::next(&mut lines).await {
                seen.push(line.clone());
                if line.contains("SPUBLISH") {
                    break;
                }
            }
            seen
        }
    });
    while server.command(&["CLIENT", "LIST"]).lines().all(|it| !it.contains("flags=O")) {
        sleep(Duration::from_millis(10)).await;
    }
    execute(&store, "watched").await;
    let seen = timeout(PATIENCE, monitored).await.unwrap().unwrap();
    let last = seen.last().unwrap();
    assert!(last.contains(" lua] \"SPUBLISH\""), "{last}");
}

#[tokio::test]
async fn nothing_but_a_digest_is_told() {
    let server = RedisServer::start();
    let database = Database::on(&server);
    let store = database.store().await;
    let mut eavesdropper = Eavesdropper::on(&database, &server, &id("k")).await;
    let digest = execute(&store, "k").await;
    let channel = database.beside(&id("k"), "ended:0");
    let [told_on, told] = &eavesdropper.next().await[..] else { panic!("two values") };
    assert_eq!(told_on, &Value::BulkString(channel.into()));
    assert_eq!(told, &Value::BulkString(digest.into()));
    assert!(eavesdropper.messages().is_empty());
}

#[tokio::test]
async fn what_somebody_else_says_on_our_channels_is_ignored() {
    let server = RedisServer::start();
    let database = Database::on(&server);
    let store = database.store().await;
    let mut announcements = announcements(&store).await;
    let channel = database.beside(&id("k"), "ended:0");
    for message in ["", "theirs", &"x".repeat(33), &"x".repeat(100_000)] {
        assert_eq!(server.command(&["SPUBLISH", &channel, message]), "1");
    }
    let digest = execute(&store, "k").await;
    assert_eq!(heard(&mut announcements, digest).await, 0);
}

#[tokio::test]
async fn services_and_databases_on_one_server_do_not_hear_each_other() {
    let server = RedisServer::start();
    let database = Database::on(&server);
    let store = database.store().await;
    let mut announcements = announcements(&store).await;
    let url = format!("{}/3", server.url());
    for other in [
        RedisStore::builder(server.url()).prefix("other:"),
        RedisStore::builder(url).prefix(&database.prefix),
    ] {
        let other = other.connect().await.unwrap();
        let mut others = self::announcements(&other).await;
        let digest = execute(&other, "theirs").await;
        assert_eq!(heard(&mut others, digest).await, 0);
    }
    let digest = execute(&store, "ours").await;
    assert_eq!(heard(&mut announcements, digest).await, 0);
}

#[tokio::test]
async fn scripts_that_were_forgotten_tell_all_the_same() {
    let server = RedisServer::start();
    let store = Database::on(&server).store().await;
    let mut announcements = announcements(&store).await;
    for round in 0..3 {
        let claim = claim(&round.to_string());
        assert!(is_won(&store.claim(&claim).await.unwrap()));
        server.command(&["SCRIPT", "FLUSH"]);
        let _ = store.complete(&claim.owner, &response("paid"), TTL).await.unwrap();
        assert_eq!(heard(&mut announcements, *claim.owner.id.digest()).await, 0);
    }
}

async fn is_replaced_when_it_is_ended(database: &Database, servers: &[RedisServer]) {
    let (store, other) = (database.store().await, database.store().await);
    let mut announcements = announcements(&other).await;
    let first = execute(&store, "first").await;
    heard(&mut announcements, first).await;
    let killed: usize = servers.iter().map(kill_subscribers).sum();
    assert!(killed > 0);
    // Told to the next subscription, or missed by it, and then it is known that something was missed.
    execute(&store, "meanwhile").await;
    heard_that_something_was_lost(&mut announcements).await;
    let last = execute(&store, "last").await;
    heard(&mut announcements, last).await;
}

#[tokio::test]
async fn a_subscription_that_was_ended_is_replaced_and_what_was_missed_is_known_to_be() {
    let server = RedisServer::start();
    is_replaced_when_it_is_ended(&Database::on(&server), std::slice::from_ref(&server)).await;
}

#[tokio::test]
async fn a_subscription_to_a_cluster_that_was_ended_is_replaced() {
    let cluster = RedisCluster::start();
    is_replaced_when_it_is_ended(&Database::on_nodes(&cluster), cluster.nodes()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_is_listened_to_again() {
    let server = RedisServer::start();
    let store = Database::on(&server).store().await;
    let mut announcements = announcements(&store).await;
    server.stop();
    sleep(Duration::from_secs(1)).await;
    server.restart();
    heard_that_something_was_lost(&mut announcements).await;
    let digest = execute(&store, "k").await;
    heard(&mut announcements, digest).await;
}

/// The connection stays open, and nothing comes through it any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_went_silent_is_found_and_replaced() {
    let server = RedisServer::start();
    let database = Database::on(&server);
    let proxy = FaultProxy::in_front_of(&server.url());
    let through = RedisStore::builder(proxy.url(&server.url())).prefix(&database.prefix);
    let listening = through.connect().await.unwrap();
    let mut announcements = announcements(&listening).await;
    proxy.fail(Fault::HalfOpen);
    let store = database.store().await;
    execute(&store, "lost").await;
    let deadline = Instant::now() + PATIENCE;
    while proxy.met() == 0 {
        assert!(Instant::now() < deadline, "the message is not swallowed");
        sleep(Duration::from_millis(10)).await;
    }
    proxy.repair();
    // The silent connection stays silent.
    heard_that_something_was_lost(&mut announcements).await;
    let digest = execute(&store, "k").await;
    heard(&mut announcements, digest).await;
}

/// Who has no right to channels is warned once, and everything else works.
#[tokio::test]
async fn rights_that_are_missing_cost_only_time() {
    let server = RedisServer::start();
    let database = Database::on(&server);
    server.command(&["ACL", "SETUSER", "default", "resetchannels"]);
    let log = Log::default();
    let _guard = log.listen();
    let store = database.store().await;
    let mut announcements = store.announcements().unwrap();
    works(&store).await;
    assert_eq!(store.not_in_flight(&[id("k")]).await.unwrap(), [id("k")]);
    let heard = timeout(Duration::from_secs(1), announcements.next()).await;
    assert!(heard.is_err(), "{heard:?}");
    assert_eq!(log.text().matches("not heard of").count(), 1, "{}", log.text());
    server.command(&["ACL", "SETUSER", "default", "allchannels"]);
    heard_that_something_was_lost(&mut announcements).await;
    let digest = execute(&store, "later").await;
    assert_eq!(self::heard(&mut announcements, digest).await, 0);
}

/// What is announced can be gone on by, also after a failover.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_replica_acknowledged_is_not_told() {
    let (master, replica) = (RedisServer::start(), RedisServer::start());
    let database = Database::on(&master);
    replica.command(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    let deadline = Instant::now() + PATIENCE;
    while !master.command(&["INFO", "replication"]).contains("state=online") {
        assert!(Instant::now() < deadline, "the replica does not follow");
        sleep(Duration::from_millis(20)).await;
    }
    let patient = database.builder().require_replicas(1, Duration::from_millis(1_500));
    let store = patient.connect().await.unwrap();
    let hasty = database.builder().require_replicas(1, Duration::from_millis(100));
    let hasty = hasty.connect().await.unwrap();
    let mut eavesdropper = Eavesdropper::on(&database, &master, &id("k")).await;
    let first = claim("k");
    assert!(is_won(&store.claim(&first).await.unwrap()));
    replica.pause();
    for _ in 0..2 {
        let refused = hasty.complete(&first.owner, &response("paid"), TTL).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    }
    sleep(Duration::from_millis(200)).await;
    assert!(eavesdropper.messages().is_empty());
    replica.resume();
    let deadline = Instant::now() + PATIENCE;
    while store.complete(&first.owner, &response("paid"), TTL).await.is_err() {
        assert!(Instant::now() < deadline, "no replica acknowledges");
    }
    let told = eavesdropper.next().await;
    assert_eq!(told[1], Value::BulkString(first.owner.id.digest().to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_endings_are_all_heard_on_a_cluster() {
    let database = Database::on_cluster();
    let (store, other) = (database.store().await, database.store().await);
    let mut announcements = announcements(&other).await;
    let digests = Arc::new(Mutex::new(HashSet::new()));
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..10 {
        let (store, digests) = (store.clone(), Arc::clone(&digests));
        tasks.spawn(async move {
            for number in 0..100 {
                let digest = execute(&store, &format!("{worker}-{number}")).await;
                digests.lock().unwrap().insert(digest);
            }
        });
    }
    let mut heard = HashSet::new();
    let all_heard = async {
        while heard.len() < 1_000 {
            match announcements.next().await {
                Announced::Ended(digest) => drop(heard.insert(digest)),
                Announced::Lost => panic!("nothing is lost where nothing happens"),
            }
        }
    };
    timeout(PATIENCE, all_heard).await.expect("all endings are announced");
    tasks.join_all().await;
    assert_eq!(heard, *digests.lock().unwrap());
    assert!(heard.iter().map(|it| it[0]).collect::<HashSet<_>>().len() > 200, "in most shards");
}

/// It is then connected to under the name that it has in the cluster.
#[tokio::test]
async fn a_node_may_be_given_by_another_name_than_it_has_in_the_cluster() {
    let cluster = RedisCluster::shared();
    let url = cluster.urls()[0].replace("127.0.0.1", "localhost");
    let store = RedisStore::cluster([url]).prefix(cluster.fresh_prefix()).connect().await.unwrap();
    let mut announcements = announcements(&store).await;
    works(&store).await;
    sleep(Duration::from_secs(1)).await;
    let digest = execute(&store, "later").await;
    // Nothing was lost meanwhile.
    let heard = [announcements.next().await, announcements.next().await];
    assert_eq!(heard, [*id("k").digest(), digest].map(Announced::Ended));
}

/// From then on it hears again what ends, wherever the record is now.
async fn hears_again(
    store: &RedisStore,
    announcements: &mut Announcements,
    name: &str,
    meanwhile: impl FnOnce(),
) {
    let digest = execute(store, name).await;
    heard(announcements, digest).await;
    meanwhile();
    heard_that_something_was_lost(announcements).await;
    let deadline = Instant::now() + PATIENCE;
    for round in 0.. {
        let claim = claim(&format!("{name} {round}"));
        let digest = *claim.owner.id.digest();
        let executed = async {
            store.claim(&claim).await?;
            store.complete(&claim.owner, &response("paid"), TTL).await
        };
        if executed.await.is_ok()
            && timeout(Duration::from_millis(500), heard(announcements, digest)).await.is_ok()
        {
            break;
        }
        assert!(Instant::now() < deadline, "nothing is heard any more");
    }
}

/// The servers unsubscribe those who listen when a slot is not theirs any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_heard_after_its_slot_has_moved() {
    let cluster = RedisCluster::start();
    let database = Database::on_nodes(&cluster);
    let (store, other) = (database.store().await, database.store().await);
    let mut announcements = announcements(&other).await;
    let slot = cluster.nodes()[0].command(&["CLUSTER", "KEYSLOT", &database.key(&id("k"))]);
    let digest = execute(&store, "k").await;
    heard(&mut announcements, digest).await;
    cluster.move_slot(slot.parse().unwrap());
    heard_that_something_was_lost(&mut announcements).await;
    // A record of the same shard.
    let mut keys = (0..100_000).map(|it| format!("other {it}"));
    let key = keys.find(|it| id(it).digest()[0] == digest[0]).unwrap();
    let digest = execute(&store, &key).await;
    heard(&mut announcements, digest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_are_heard_after_a_failover() {
    let cluster = RedisCluster::start();
    let database = Database::on_nodes(&cluster);
    let (store, other) = (database.store().await, database.store().await);
    let mut announcements = announcements(&other).await;
    // Orderly, with the old master there.
    hears_again(&store, &mut announcements, "orderly", || {
        assert_eq!(cluster.nodes()[3].command(&["CLUSTER", "FAILOVER"]), "OK");
    })
    .await;
    // And with the master gone.
    hears_again(&store, &mut announcements, "killed", || cluster.nodes()[1].stop()).await;
}
