//! Duplicates that wait for an execution in another process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use idem_core::{Claim, Endpoint, GuardedRequest, Handled, Idem, OnConflict, Problem, Store};
use idem_redis::{RedisBuilder, RedisStore};
use idem_testkit::{RedisCluster, RedisServer};
use tokio::{
    sync::{Notify, Semaphore},
    task::{JoinHandle, spawn_blocking},
    time::{sleep, timeout},
};

use crate::{
    database::Database,
    listening::{await_subscribers, heard_that_something_was_lost, kill_subscribers, subscribers},
    requests::claim,
};

const PATIENCE: Duration = Duration::from_mins(2);
const NEVER: Duration = Duration::from_hours(1);
const OFTEN: Duration = Duration::from_millis(100);

static WAITS: Endpoint = Endpoint::new().on_conflict(OnConflict::Wait).wait(Duration::from_mins(5));

/// What the first run of a handler comes to; all others are done.
#[derive(Clone, Copy, Debug)]
enum End {
    Done,
    NotFinal,
    Panic,
}

/// What handlers in all processes share.
#[derive(Default)]
struct Handlers {
    runs: AtomicU32,
    began: Notify,
}

struct Process {
    idem: Idem,
    store: RedisStore,
    handlers: Arc<Handlers>,
    /// A permit lets one first run end.
    gate: Arc<Semaphore>,
}

impl Process {
    async fn start(builder: RedisBuilder, poll: Duration) -> Self {
        let store = builder.connect().await.unwrap();
        let idem = Idem::builder(store.clone()).poll_interval(poll).build().unwrap();
        let gate = Arc::new(Semaphore::new(0));
        Self { idem, store, handlers: Arc::default(), gate }
    }

    /// Another one of the same service.
    async fn other(&self, builder: RedisBuilder, poll: Duration) -> Self {
        let (handlers, gate) = (Arc::clone(&self.handlers), Arc::clone(&self.gate));
        Self { handlers, gate, ..Self::start(builder, poll).await }
    }

    fn send(&self, key: &str, end: End) -> JoinHandle<Result<String, Problem>> {
        let Claim { owner, fingerprint, .. } = claim(key);
        let request = GuardedRequest { id: owner.id, fingerprint, endpoint: &WAITS };
        let (idem, handlers, gate) =
            (self.idem.clone(), Arc::clone(&self.handlers), Arc::clone(&self.gate));
        let handler = move |granted: idem_core::Granted| {
            let (handlers, gate) = (Arc::clone(&handlers), Arc::clone(&gate));
            let number = granted.attempt().unwrap().number();
            async move {
                let run = handlers.runs.fetch_add(1, Ordering::Relaxed) + 1;
                let mut response = Response::new(Full::from(Bytes::from(format!("run {run}"))));
                if number == 1 {
                    handlers.began.notify_one();
                    gate.acquire().await.unwrap().forget();
                    match end {
                        End::Done => {}
                        End::NotFinal => {
                            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                        }
                        End::Panic => panic!("on purpose"),
                    }
                }
                Handled::Answered(response)
            }
        };
        tokio::spawn(async move {
            let body = idem.answer(request, handler).await?.into_body();
            let body = body.collect().await.unwrap().to_bytes();
            Ok(String::from_utf8(body.to_vec()).unwrap())
        })
    }

    /// Sends a request whose handler begins.
    async fn begin(&self, key: &str, end: End) -> JoinHandle<Result<String, Problem>> {
        let first = self.send(key, end);
        patiently(self.handlers.began.notified()).await;
        first
    }

    fn release(&self, number: usize) {
        self.gate.add_permits(number);
    }

    fn runs(&self) -> u32 {
        self.handlers.runs.load(Ordering::Relaxed)
    }

    /// From then on it hears what ends.
    async fn listens(&self) {
        heard_that_something_was_lost(&mut self.store.announcements().unwrap()).await;
    }
}

async fn patiently<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it comes")
}

async fn answers(of: Vec<JoinHandle<Result<String, Problem>>>) -> Vec<String> {
    patiently(join_all(of)).await.into_iter().map(|it| it.unwrap().unwrap()).collect()
}

/// However many of them are waiting by then, the outcome is the same.
async fn let_them_wait(waiters: &[JoinHandle<Result<String, Problem>>]) {
    sleep(Duration::from_millis(300)).await;
    assert!(waiters.iter().all(|it| !it.is_finished()));
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_wait_in_another_process_are_told_at_once() {
    for database in [Database::on_server(), Database::on_cluster(), Database::with_replicas()] {
        let one = Process::start(database.builder(), NEVER).await;
        let other = one.other(database.builder(), NEVER).await;
        let _until_the_end = other.store.announcements();
        for (end, executes) in [(End::Done, false), (End::NotFinal, true), (End::Panic, true)] {
            let before = one.runs();
            let key = format!("{end:?}");
            let first = one.begin(&key, end).await;
            let waiters: Vec<_> = (0..20).map(|_| other.send(&key, end)).collect();
            let_them_wait(&waiters).await;
            one.release(1);
            let _ = patiently(first).await.unwrap();
            let run = format!("run {}", before + if executes { 2 } else { 1 });
            assert!(answers(waiters).await.iter().all(|it| *it == run), "{end:?}");
            assert_eq!(format!("run {}", one.runs()), run, "{end:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_who_wait_for_fifty_records_are_told_at_once() {
    let database = Database::on_cluster();
    let one = Process::start(database.builder(), NEVER).await;
    let other = one.other(database.builder(), NEVER).await;
    let mut firsts = Vec::new();
    for key in 0..50 {
        firsts.push(one.begin(&key.to_string(), End::Done).await);
    }
    let waiters: Vec<_> =
        (0..500).map(|it: u32| other.send(&(it % 50).to_string(), End::Done)).collect();
    let_them_wait(&waiters).await;
    one.release(50);
    let done = answers(firsts).await;
    let told = answers(waiters).await;
    assert!((0..500).all(|it| told[it] == done[it % 50]), "{told:?}");
    assert_eq!(one.runs(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_wait_while_their_process_hears_nothing_are_told_afterwards() {
    let server = RedisServer::start();
    let database = Database::on(&server);
    let one = Process::start(database.builder(), NEVER).await;
    let other = one.other(database.builder(), NEVER).await;
    let first = one.begin("k", End::Done).await;
    let waiters = vec![other.send("k", End::Done)];
    other.listens().await;
    let_them_wait(&waiters).await;
    // It stays so until the handler has ended.
    server.command(&["ACL", "SETUSER", "default", "resetchannels"]);
    kill_subscribers(&server);
    one.release(1);
    assert_eq!(answers(vec![first]).await, ["run 1"]);
    server.command(&["ACL", "SETUSER", "default", "allchannels"]);
    assert_eq!(answers(waiters).await, ["run 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hears_nothing_polls() {
    let server = RedisServer::start();
    let database = Database::on(&server);
    let deaf = database.builder().poll_only();
    let one = Process::start(database.builder(), OFTEN).await;
    let deaf = one.other(deaf, OFTEN).await;
    server.command(&["ACL", "SETUSER", "default", "resetchannels"]);
    let without_rights = one.other(database.builder(), OFTEN).await;
    let first = one.begin("k", End::Done).await;
    let waiters = vec![deaf.send("k", End::Done), without_rights.send("k", End::Done)];
    let_them_wait(&waiters).await;
    one.release(1);
    assert_eq!(answers(vec![first]).await, ["run 1"]);
    assert_eq!(answers(waiters).await, ["run 1", "run 1"]);
    assert_eq!(subscribers(&server), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_drained_or_gone_leaves_no_subscription() {
    let server = RedisServer::start();
    let database = Database::on(&server);
    for drains in [true, false] {
        let process = Process::start(database.builder(), NEVER).await;
        process.release(1);
        assert_eq!(subscribers(&server), 0);
        assert!(patiently(process.send(&format!("{drains}"), End::Done)).await.unwrap().is_ok());
        await_subscribers(&server, 1).await;
        // The store is still there.
        let store = process.store.clone();
        if drains {
            patiently(process.idem.drain()).await;
        } else {
            drop(process);
        }
        await_subscribers(&server, 0).await;
        drop(store);
    }
}

/// A master is killed while many wait. What its replicas have is not lost, and so nobody executes
/// twice; each gets the one answer there is, or is told to ask again.
#[tokio::test(flavor = "multi_thread")]
async fn those_who_wait_when_a_master_is_killed_get_their_answers() {
    const KEYS: usize = 60;
    let cluster = Arc::new(RedisCluster::start());
    let database = Database::on_nodes(&cluster);
    let builder = || database.builder().require_replicas(1, Duration::from_millis(500));
    let one = Process::start(builder(), OFTEN).await;
    let other = one.other(builder(), NEVER).await;
    let keys: Vec<_> = (0..KEYS).map(|it| it.to_string()).collect();
    let mut firsts = Vec::new();
    for key in &keys {
        firsts.push(one.begin(key, End::Done).await);
    }
    let waiters: Vec<_> = (0..3 * KEYS).map(|it| other.send(&keys[it % KEYS], End::Done)).collect();
    let_them_wait(&waiters).await;
    let killed = Arc::clone(&cluster);
    spawn_blocking(move || killed.nodes()[0].stop()).await.unwrap();
    one.release(KEYS);
    let back = Arc::clone(&cluster);
    let coming_back = spawn_blocking(move || {
        while !back.nodes()[3].command(&["ROLE"]).starts_with("master") {
            thread::sleep(Duration::from_millis(50));
        }
        // Only then has every record a replica again.
        back.nodes()[0].restart();
    });
    let done = answers(firsts).await;
    let deadline = Instant::now() + PATIENCE;
    for (number, waiter) in waiters.into_iter().enumerate() {
        let mut answer = patiently(waiter).await.unwrap();
        while answer.is_err() {
            assert!(
                matches!(answer, Err(Problem::StoreUnavailable | Problem::InFlight)),
                "{answer:?}"
            );
            assert!(Instant::now() < deadline, "{answer:?}");
            answer = patiently(other.send(&keys[number % KEYS], End::Done)).await.unwrap();
        }
        assert_eq!(answer.unwrap(), done[number % KEYS]);
    }
    assert_eq!(one.runs(), 60);
    patiently(coming_back).await.unwrap();

    // And what ends from then on is told again.
    let first = one.begin("later", End::Done).await;
    let waiters = vec![other.send("later", End::Done)];
    let_them_wait(&waiters).await;
    one.release(1);
    assert_eq!(answers(vec![first]).await, answers(waiters).await);
}
