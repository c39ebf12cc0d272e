//! Writes that replicas have to acknowledge.

use std::{
    error::Error,
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use idem_core::{
    Claim, Claimed, Endpoint, GuardedRequest, Handled, Idem, Problem, Recover, Resolution, Store,
    StoreError, Written,
};
use idem_redis::{NotReplicated, RedisBuilder, RedisStore};
use idem_testkit::RedisServer;
use tokio::task::JoinSet;

use crate::{
    database::Database,
    requests::{LEASE, TTL, claim, id, is_won, response},
};

/// A server and its replica.
struct Pair {
    master: RedisServer,
    replica: RedisServer,
    database: Database,
}

impl Pair {
    fn start() -> Self {
        let (master, replica) = (RedisServer::start(), RedisServer::start());
        let database = Database::on(&master);
        let this = Self { master, replica, database };
        this.follow();
        this
    }

    fn follow(&self) {
        let port = self.master.port().to_string();
        self.replica.command(&["REPLICAOF", "127.0.0.1", &port]);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.master.command(&["INFO", "replication"]).contains("state=online") {
            assert!(Instant::now() < deadline, "the replica does not follow");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// How often something was set.
    fn writes(&self) -> u32 {
        let stats = self.master.command(&["INFO", "commandstats"]);
        let set = stats.lines().find_map(|it| it.strip_prefix("cmdstat_set:calls="));
        set.map_or(0, |it| it.split(',').next().unwrap().parse().unwrap())
    }

    fn builder(&self, within: Duration) -> RedisBuilder {
        self.database.builder().require_replicas(1, within)
    }

    /// A store that gets its acknowledgements where there is a replica, on a busy machine, too.
    async fn store(&self) -> RedisStore {
        self.builder(Duration::from_millis(1_500)).connect().await.unwrap()
    }

    /// A store that soon gives up waiting for them.
    async fn hasty_store(&self) -> RedisStore {
        self.builder(Duration::from_millis(100)).connect().await.unwrap()
    }
}

fn not_replicated(error: &StoreError) -> Option<NotReplicated> {
    assert!(matches!(error, StoreError::Unavailable(_)) && error.may_have_happened(), "{error:?}");
    error.source()?.downcast_ref().copied()
}

#[track_caller]
fn assert_not_replicated<T: Debug>(result: Result<T, StoreError>, when: &str) {
    let not_replicated = not_replicated(&result.expect_err(when)).expect(when);
    assert_eq!((not_replicated.acknowledged, not_replicated.required), (0, 1), "{when}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_replica_acknowledged_is_an_error_of_its_own() {
    let pair = Pair::start();
    let store = pair.store().await;
    let claimed = async |key: &str, recover| {
        let claim = Claim { recover, ..claim(key) };
        assert!(is_won(&store.claim(&claim).await.unwrap()));
        claim.owner
    };
    let [complete, fail, hold, renew, release] = [
        claimed("complete", Recover::Retry).await,
        claimed("fail", Recover::Retry).await,
        claimed("hold", Recover::Retry).await,
        claimed("renew", Recover::Retry).await,
        claimed("release", Recover::Retry).await,
    ];
    let decided = claimed("decided", Recover::Hold).await;
    assert_eq!(store.hold(&decided).await.unwrap(), Written::Accepted);
    let done = claimed("done", Recover::Retry).await;
    assert_eq!(store.complete(&done, &response("paid"), TTL).await.unwrap(), Written::Accepted);
    let resolution = Resolution::Failed { ttl: TTL };
    let new = claim("new");

    pair.replica.pause();
    let hasty = pair.hasty_store().await;
    // Each of them twice: the second one finds that the first one happened, and must not believe that
    // the replica has it.
    for round in ["first", "again"] {
        assert_not_replicated(hasty.claim(&new).await, round);
        assert_not_replicated(hasty.complete(&complete, &response("x"), TTL).await, round);
        assert_not_replicated(hasty.fail(&fail, TTL).await, round);
        assert_not_replicated(hasty.hold(&hold).await, round);
        assert_not_replicated(hasty.renew(&renew, LEASE).await, round);
        assert_not_replicated(hasty.release(&release).await, round);
        assert_not_replicated(hasty.resolve(&decided, &resolution).await, round);
        assert_not_replicated(hasty.claim(&claim("done")).await, "a replay");
        // And by somebody else.
        let elsewhere = pair.hasty_store().await;
        assert_not_replicated(elsewhere.claim(&new).await, "elsewhere");
        assert_not_replicated(elsewhere.claim(&claim("done")).await, "elsewhere");
    }
    // Nobody goes on because of these.
    assert_eq!(hasty.claim(&claim("renew")).await.unwrap().claimed, Claimed::InFlight);
    assert_eq!(hasty.claim(&claim("hold")).await.unwrap().claimed, Claimed::Held);
    assert!(hasty.get(&id("done")).await.unwrap().is_some());

    pair.replica.resume();
    pair.follow();
    assert!(is_won(&store.claim(&new).await.unwrap()));
    assert_eq!(store.complete(&complete, &response("x"), TTL).await.unwrap(), Written::Accepted);
    assert_eq!(store.fail(&fail, TTL).await.unwrap(), Written::Accepted);
    assert_eq!(store.hold(&hold).await.unwrap(), Written::Accepted);
    assert_eq!(store.renew(&renew, LEASE).await.unwrap(), Written::Accepted);
    assert_eq!(store.release(&release).await.unwrap(), Written::Stale);
    assert_eq!(store.resolve(&decided, &resolution).await.unwrap(), Written::Accepted);
    let replayed = store.claim(&claim("done")).await.unwrap().claimed;
    assert_eq!(replayed, Claimed::Completed(response("paid")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_replica_claims_nothing_and_takes_its_claims_back() {
    static ENDPOINT: Endpoint = Endpoint::new().recover(Recover::Hold);
    let pair = Pair::start();
    let idem = Idem::builder(pair.store().await).build().unwrap();
    let runs = Arc::new(AtomicU32::new(0));
    let send = async |key: &str| {
        let Claim { owner, fingerprint, .. } = claim(key);
        let request = GuardedRequest { id: owner.id, fingerprint, endpoint: &ENDPOINT };
        let runs = Arc::clone(&runs);
        let handler = move |_| {
            runs.fetch_add(1, Ordering::Relaxed);
            async { Handled::Answered(Response::new(Full::from(Bytes::from("done")))) }
        };
        idem.answer(request, handler).await.map(Response::into_body)
    };

    pair.replica.command(&["REPLICAOF", "NO", "ONE"]);
    let refused = send("k").await;
    assert!(matches!(refused, Err(Problem::StoreUnavailable)), "{refused:?}");
    assert_eq!(runs.load(Ordering::Relaxed), 0);
    // At the master it is free again before it is known at the replica.
    let deadline = Instant::now() + Duration::from_secs(20);
    while pair.store().await.get(&id("k")).await.unwrap().is_some() {
        assert!(Instant::now() < deadline, "the claim is not taken back");
    }

    pair.follow();
    assert!(send("k").await.is_ok());
    assert!(send("k").await.is_ok());
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    idem.drain().await;
}

/// An operation has a connection of its own while it waits. One that would not have the time to wait
/// is not even sent.
#[tokio::test(flavor = "multi_thread")]
async fn operations_that_find_no_connection_in_time_are_not_sent() {
    let pair = Pair::start();
    let builder = pair.builder(Duration::from_millis(1_500)).timeout(Duration::from_secs(4));
    let store = builder.max_connections(1).connect().await.unwrap();
    pair.replica.pause();
    let mut tasks = JoinSet::new();
    for number in 0..3 {
        let store = store.clone();
        tasks.spawn(async move { store.claim(&claim(&number.to_string())).await.unwrap_err() });
    }
    // Who only looks waits for nobody.
    assert!(store.get(&id("none")).await.unwrap().is_none());
    let errors = tasks.join_all().await;
    let (sent, others): (Vec<_>, Vec<_>) = errors.iter().partition(|it| it.may_have_happened());
    assert_eq!(sent.len(), 2, "{errors:?}");
    assert!(sent.iter().all(|it| not_replicated(it).is_some()), "{sent:?}");
    assert!(others.iter().all(|it| matches!(it, StoreError::Unreachable(_))), "{others:?}");

    pair.replica.resume();
    pair.follow();
    assert!(is_won(&store.claim(&claim("new")).await.unwrap()));
}

/// Newer servers than some wait for what a connection wrote, and not for what it read.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_is_confirmed_by_a_write() {
    let pair = Pair::start();
    let store = pair.store().await;
    let (running, done, gone) = (claim("running"), claim("done"), claim("gone"));
    for claim in [&running, &done] {
        assert!(is_won(&store.claim(claim).await.unwrap()));
    }
    let response = response("paid");
    let written = store.complete(&done.owner, &response, TTL).await.unwrap();
    assert_eq!(written, Written::Accepted);

    let mut before = pair.writes();
    let mut has_written = |what: &str| {
        let now = pair.writes();
        assert_eq!(now, before + 1, "{what}");
        before = now;
    };
    assert!(is_won(&store.claim(&running).await.unwrap()));
    has_written("a claim that is sent again");
    assert_eq!(
        store.claim(&claim("done")).await.unwrap().claimed,
        Claimed::Completed(response.clone())
    );
    has_written("a replay");
    let written = store.complete(&done.owner, &response, TTL).await.unwrap();
    assert_eq!(written, Written::Accepted);
    has_written("an ending that is sent again");
    assert_eq!(store.release(&gone.owner).await.unwrap(), Written::Stale);
    has_written("a release that is sent again");

    let plain = pair.database.store().await;
    assert!(is_won(&plain.claim(&running).await.unwrap()));
    assert_eq!(plain.claim(&claim("done")).await.unwrap().claimed, Claimed::Completed(response));
    assert_eq!(pair.writes(), before, "without replicas");
}
