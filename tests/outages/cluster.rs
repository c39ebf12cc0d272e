//! A service whose store is a Redis Cluster, with a wire to each node.

use std::sync::{Arc, LazyLock, Mutex};

use idem::{Idem, NoTransactions, RedisBuilder, RedisStore};
use idem_testkit::{Fault, FaultProxy, RedisCluster};
use tokio::{runtime::Runtime, task::spawn_blocking};

use crate::support::{Runs, SERVER_TIMEOUT, STORE_TIMEOUT, Service, Wire, redis::count};

/// Where wires live: a cluster serves one test after the other, and each of those has a runtime of its
/// own.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

static IDLE: Mutex<Vec<Wired>> = Mutex::new(Vec::new());

/// A cluster whose nodes are found at the ends of wires.
struct Wired {
    cluster: RedisCluster,
    wires: Vec<FaultProxy>,
}

impl Wired {
    fn start() -> Self {
        let _in_runtime = RUNTIME.enter();
        let cluster = RedisCluster::start();
        let wires: Vec<_> =
            cluster.nodes().iter().map(|node| FaultProxy::to(node.port())).collect();
        let ports: Vec<_> = wires.iter().map(FaultProxy::port).collect();
        cluster.announce_ports(&ports);
        Self { cluster, wires }
    }
}

/// A cluster that nobody else uses now.
pub(crate) struct Lent(Option<Wired>);

impl Lent {
    fn wired(&self) -> &Wired {
        self.0.as_ref().expect("until it is dropped")
    }

    /// The wire to a node. At first, the first three are masters.
    pub(crate) fn wire(&self, node: usize) -> &FaultProxy {
        &self.wired().wires[node]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.repair();
        IDLE.lock().unwrap().extend(self.0.take());
    }
}

impl Wire for Lent {
    fn fail(&self, fault: Fault) {
        self.wired().wires.iter().for_each(|it| it.fail(fault));
    }

    fn repair(&self) {
        self.wired().wires.iter().for_each(FaultProxy::repair);
    }

    fn met(&self) -> usize {
        self.wired().wires.iter().map(FaultProxy::met).sum()
    }
}

/// The keys of a service, and the cluster that they are on.
pub(crate) struct Place {
    pub(crate) lent: Arc<Lent>,
    prefix: String,
}

impl Place {
    pub(crate) fn builder(&self) -> RedisBuilder {
        let urls =
            self.lent.wired().wires.iter().map(|it| format!("redis://127.0.0.1:{}", it.port()));
        RedisStore::cluster(urls).prefix(&self.prefix)
    }
}

/// A service, and where its keys are.
pub(crate) async fn service() -> (Service<NoTransactions>, Place) {
    let idle = IDLE.lock().unwrap().pop();
    let wired = match idle {
        Some(wired) => wired,
        None => spawn_blocking(Wired::start).await.unwrap(),
    };
    let prefix = wired.cluster.fresh_prefix();
    let place = Place { lent: Arc::new(Lent(Some(wired))), prefix };
    let store = place.builder().timeout(SERVER_TIMEOUT).connect().await.unwrap();
    let idem = Idem::builder(store).store_timeout(STORE_TIMEOUT).build().unwrap();
    let proxy: Arc<dyn Wire> = place.lent.clone();
    (Service { idem, runs: Runs::default(), proxy }, place)
}

/// How many completed records there are, and how many others.
#[allow(clippy::unused_async, reason = "others ask over a connection")]
pub(crate) async fn records(place: &Place) -> (i64, i64) {
    let masters = place.lent.wired().cluster.nodes().iter();
    let masters = masters.filter(|it| it.command(&["ROLE"]).starts_with("master"));
    let counts = masters.map(|it| count(it, &place.prefix));
    counts.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
}
