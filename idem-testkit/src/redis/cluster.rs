//! Throwaway Redis clusters.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::RedisServer;
use crate::ports::free_port;

const MASTERS: usize = 3;
const SLOTS: usize = 16_384;

/// A Redis Cluster of its own: three masters with a replica each, six servers as [`RedisServer`]
/// starts them. A replica takes over about two seconds after its master went silent.
///
/// ```
/// use idem_testkit::RedisCluster;
///
/// let cluster = RedisCluster::shared();
/// assert_eq!(cluster.nodes().len(), 6);
/// ```
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
    prefixes: AtomicU32,
}

impl RedisCluster {
    /// Starts a new, empty cluster and waits until all of it is ready: a few seconds.
    ///
    /// # Panics
    ///
    /// When Redis is not installed or does not start; the message says what to do.
    pub fn start() -> Self {
        let options = || {
            format!(
                "--cluster-enabled yes --cluster-node-timeout 1000 --cluster-port {} \
                 --cluster-replica-validity-factor 0 --repl-ping-replica-period 1",
                free_port()
            )
        };
        let nodes: Vec<_> = (0..2 * MASTERS).map(|_| RedisServer::start_with(options)).collect();
        let this = Self { nodes, prefixes: AtomicU32::new(0) };
        this.form();
        this.await_health();
        this
    }

    /// The one cluster that all tests of this process share, started when it is first asked for.
    ///
    /// # Panics
    ///
    /// Like [`start`](Self::start).
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<RedisCluster> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The nodes. At first the first three are masters, and the replica of each comes three later.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The URLs of all nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(RedisServer::url).collect()
    }

    /// A prefix for keys that this cluster has not given out before.
    pub fn fresh_prefix(&self) -> String {
        format!("test-{}:", self.prefixes.fetch_add(1, Ordering::Relaxed))
    }

    /// Has the nodes tell everybody that they are found at these ports, for instance those of
    /// [proxies](crate::FaultProxy), and waits until all of them say so. Replicas follow their masters
    /// there, too; what nodes tell each other about failures does not go that way.
    ///
    /// # Panics
    ///
    /// When there is not a port for each node, or when they do not say so within half a minute.
    pub fn announce_ports(&self, ports: &[u16]) {
        assert_eq!(ports.len(), self.nodes.len(), "a port for each node");
        for (node, port) in self.nodes.iter().zip(ports) {
            let answer =
                node.command(&["CONFIG", "SET", "cluster-announce-port", &port.to_string()]);
            assert_eq!(answer, "OK");
        }
        self.wait_until("the nodes are announced at their ports", |node| {
            let known = node.command(&["CLUSTER", "NODES"]);
            ports.iter().all(|port| known.contains(&format!(":{port}@")))
        });
    }

    /// Waits until every slot has a master, every replica is up to date, and all nodes know.
    ///
    /// # Panics
    ///
    /// When that is not so after half a minute.
    pub fn await_health(&self) {
        self.wait_until("the cluster is healthy", |node| {
            let replication = node.command(&["INFO", "replication"]);
            let nodes = node.command(&["CLUSTER", "NODES"]);
            // It leaves out replicas of which nothing was heard yet.
            let slots = node.command(&["CLUSTER", "SLOTS"]);
            let mut ids = nodes.lines().filter_map(|it| it.split(' ').next());
            node.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
                && ids.all(|id| slots.contains(id))
                && (replication.contains("connected_slaves:1")
                    || replication.contains("master_link_status:up"))
        });
    }

    /// Moves a slot with its keys from the master that has it to another one.
    ///
    /// # Panics
    ///
    /// When a node refuses.
    pub fn move_slot(&self, slot: u16) {
        let masters: Vec<_> = self.nodes.iter().filter(|it| is_master(it)).collect();
        let [from, to] = [true, false].map(|has| {
            let found = masters.iter().copied().find(|it| has_slot(it, slot) == has);
            found.expect("one master has it and another one does not")
        });
        let slot = slot.to_string();
        let id = |node: &RedisServer| node.command(&["CLUSTER", "MYID"]);
        let set = |node: &RedisServer, state: &str, id: &str| {
            let answer = node.command(&["CLUSTER", "SETSLOT", &slot, state, id]);
            assert_eq!(answer, "OK", "CLUSTER SETSLOT {slot} {state}");
        };
        set(to, "IMPORTING", &id(from));
        set(from, "MIGRATING", &id(to));
        let port = to.port().to_string();
        let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]);
        for key in keys.lines() {
            let answer = from.command(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
            assert_eq!(answer, "OK", "MIGRATE {key}");
        }
        set(to, "NODE", &id(to));
        for node in masters.into_iter().filter(|it| it.port() != to.port()) {
            set(node, "NODE", &id(to));
        }
    }

    fn form(&self) {
        let id = |node: &RedisServer| node.command(&["CLUSTER", "MYID"]);
        let port = |node: &RedisServer| node.port().to_string();
        for (i, node) in self.nodes.iter().enumerate() {
            if i < MASTERS {
                let [first, next] = [i, i + 1].map(|it| it * SLOTS / MASTERS);
                let (first, last) = (first.to_string(), (next - 1).to_string());
                node.command(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            }
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(i + 1).to_string()]);
            let bus = node.command(&["CONFIG", "GET", "cluster-port"]);
            let bus = bus.lines().nth(1).expect("a port");
            self.nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port(node), bus]);
        }
        self.wait_until("the nodes know each other", |node| {
            let known = node.command(&["CLUSTER", "NODES"]);
            known.lines().count() == self.nodes.len() && !known.contains("handshake")
        });
        for (master, replica) in self.nodes.iter().zip(&self.nodes[MASTERS..]) {
            replica.command(&["CLUSTER", "REPLICATE", &id(master)]);
        }
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&RedisServer) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.nodes.iter().all(&is_so) {
            assert!(Instant::now() < deadline, "it takes too long until {what}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Whether a node is the master of a slot.
fn has_slot(node: &RedisServer, slot: u16) -> bool {
    let nodes = node.command(&["CLUSTER", "NODES"]);
    let this = nodes.lines().find(|it| it.contains("myself")).expect("it knows itself");
    let mut ranges = this.split(' ').skip(8).filter(|it| !it.starts_with('['));
    ranges.any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let [first, last] = [first, last].map(|it| it.parse::<u16>().expect("a slot"));
        (first..=last).contains(&slot)
    })
}

fn is_master(node: &RedisServer) -> bool {
    node.command(&["ROLE"]).starts_with("master")
}
