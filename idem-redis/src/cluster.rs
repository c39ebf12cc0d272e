//! Which node of a cluster has which shard.
//!
//! The driver's own cluster client keeps everybody waiting while it looks for a node that it has lost. Here
//! that costs those who need the node, and no others.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use futures_util::future::select_ok;
use redis::{
    Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, RedisResult, Value,
    cluster_routing::Slot, from_redis_value,
};
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, timeout},
};

use crate::{
    error::timed_out,
    keys::Shard,
    node::{Dial, Node, lock},
};

const SLOTS: u16 = 16_384;

/// How often at most the nodes are asked who has what.
const PACE: Duration = Duration::from_millis(100);

/// The slot of each shard.
static SLOT_OF: LazyLock<Vec<u16>> = LazyLock::new(|| {
    let slots = (0..SLOTS).filter_map(|it| Some((Slot::new(it)?, it)));
    let numbers: HashMap<_, _> = slots.collect();
    Shard::all().map(|it| numbers[&Slot::for_key(it.tag())]).collect()
});

/// Where a node is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Host {
    name: String,
    port: u16,
}

/// A server has sent us to another one.
#[derive(Debug)]
pub(crate) enum Redirect {
    /// That has the shard from now on.
    Moved(Host),
    /// That has what was asked for, this time.
    Ask(Host),
}

impl Redirect {
    /// What an error says, if it is about that.
    pub(crate) fn of(error: &RedisError) -> Option<Self> {
        let (address, _) = error.redirect_node()?;
        let (name, port) = address.rsplit_once(':')?;
        let host = Host { name: name.to_owned(), port: port.parse().ok()? };
        match error.code() {
            Some("MOVED") => Some(Self::Moved(host)),
            Some("ASK") => Some(Self::Ask(host)),
            _ => None,
        }
    }
}

/// A cluster, as far as it is known.
pub(crate) struct Cluster {
    /// What all nodes are connected to like, but for their address.
    like: ConnectionInfo,
    dial: Dial,
    seeds: Vec<Host>,
    view: Mutex<View>,
    /// When somebody looked last.
    looking: AsyncMutex<Option<Instant>>,
}

#[derive(Default)]
struct View {
    /// By shard.
    masters: Vec<Option<Host>>,
    replicas: Vec<Host>,
    nodes: HashMap<Host, Arc<Node>>,
    /// Who is asked first the next time.
    turn: usize,
}

impl Cluster {
    pub(crate) async fn open(nodes: Vec<ConnectionInfo>, dial: Dial) -> RedisResult<Self> {
        let seeds = nodes.iter().map(Host::of).collect::<RedisResult<Vec<_>>>()?;
        let like = nodes.into_iter().next().ok_or_else(|| {
            RedisError::from((ErrorKind::InvalidClientConfig, "a cluster needs at least one node"))
        })?;
        let view = Mutex::default();
        let this = Self { like, dial, seeds, view, looking: AsyncMutex::new(None) };
        this.look().await?;
        Ok(this)
    }

    /// The node to ask about a shard.
    pub(crate) fn node_of(
        &self,
        shard: Shard,
        redirect: Option<&Redirect>,
    ) -> RedisResult<Arc<Node>> {
        let mut view = lock(&self.view);
        let known = view.master(shard).cloned();
        // A node that does not know the name of another one means its own.
        let named = |to: &Host| match (to.name.as_str(), &known) {
            ("", Ok(known)) => Host { name: known.name.clone(), port: to.port },
            _ => to.clone(),
        };
        let host = match redirect {
            Some(Redirect::Ask(to)) => named(to),
            Some(Redirect::Moved(to)) => {
                let host = named(to);
                view.masters[shard.number()] = Some(host.clone());
                host
            }
            None => known?,
        };
        self.node(&mut view, host)
    }

    /// Those that have shards.
    pub(crate) fn masters(&self) -> RedisResult<Vec<Arc<Node>>> {
        let mut view = lock(&self.view);
        let mut hosts: Vec<_> = view.masters.iter().flatten().cloned().collect();
        hosts.sort_unstable_by(|one, other| one.order().cmp(&other.order()));
        hosts.dedup();
        hosts.into_iter().map(|it| self.node(&mut view, it)).collect()
    }

    /// Those that follow them.
    pub(crate) fn replicas(&self) -> RedisResult<Vec<Arc<Node>>> {
        let mut view = lock(&self.view);
        let hosts = view.replicas.clone();
        hosts.into_iter().map(|it| self.node(&mut view, it)).collect()
    }

    /// Who has the shards of these.
    pub(crate) fn by_node<'a, T>(
        &self,
        of: &'a [(Shard, T)],
    ) -> RedisResult<Vec<(Arc<Node>, Vec<&'a T>)>> {
        let mut view = lock(&self.view);
        let mut hosts: HashMap<Host, Vec<&T>> = HashMap::new();
        for (shard, it) in of {
            hosts.entry(view.master(*shard)?.clone()).or_default().push(it);
        }
        hosts.into_iter().map(|(host, it)| Ok((self.node(&mut view, host)?, it))).collect()
    }

    /// Asks the nodes who has what, unless somebody just did.
    pub(crate) async fn look_around(&self) {
        let mut looked_at = self.looking.lock().await;
        if looked_at.is_none_or(|it| it.elapsed() >= PACE) {
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "no node of the Redis cluster says who has what");
            }
            *looked_at = Some(Instant::now());
        }
    }

    /// Two nodes at a time, others first each time: one may be cut off from the rest, and one may hang.
    async fn look(&self) -> RedisResult<()> {
        let nodes = {
            let mut view = lock(&self.view);
            let mut hosts: Vec<_> = view.masters.iter().flatten().cloned().collect();
            hosts.extend(view.replicas.iter().chain(&self.seeds).cloned());
            hosts.sort_unstable_by(|one, other| one.order().cmp(&other.order()));
            hosts.dedup();
            view.turn += 1;
            let turn = view.turn % hosts.len();
            hosts.rotate_left(turn);
            hosts
                .into_iter()
                .map(|it| Ok((it.clone(), self.node(&mut view, it)?)))
                .collect::<RedisResult<Vec<_>>>()?
        };
        let mut error = timed_out();
        for pair in nodes.chunks(2) {
            let asking = pair.iter().map(|(host, node)| {
                Box::pin(async move {
                    let mut slots = Cmd::new();
                    slots.arg("CLUSTER").arg("SLOTS");
                    Ranges::parse(node.ask(&slots).await?, host)
                })
            });
            match timeout(self.dial.patience / 2, select_ok(asking)).await {
                Ok(Ok((ranges, _))) => {
                    lock(&self.view).take_over(ranges);
                    return Ok(());
                }
                Ok(Err(new)) => error = new,
                Err(_) => {
                    for (_, node) in pair {
                        node.hang_up();
                    }
                    error = timed_out();
                }
            }
        }
        Err(error)
    }

    fn node(&self, view: &mut View, host: Host) -> RedisResult<Arc<Node>> {
        if let Some(node) = view.nodes.get(&host) {
            return Ok(Arc::clone(node));
        }
        let address = host.clone().like(self.like.addr());
        let node = Arc::new(Node::new(self.like.clone().set_addr(address), self.dial.clone())?);
        view.nodes.insert(host, Arc::clone(&node));
        Ok(node)
    }
}

impl View {
    fn master(&self, shard: Shard) -> RedisResult<&Host> {
        let host = self.masters.get(shard.number()).and_then(Option::as_ref);
        let nobody = (ErrorKind::ClusterConnectionNotFound, "no node of the cluster has the slot");
        host.ok_or_else(|| nobody.into())
    }

    /// Forgets nodes that are no part of the cluster any more.
    fn take_over(&mut self, Ranges(ranges): Ranges) {
        let master = |slot: u16| {
            let range = ranges.iter().find(|it| (it.first..=it.last).contains(&slot));
            range.map(|it| it.master.clone())
        };
        self.masters = SLOT_OF.iter().map(|slot| master(*slot)).collect();
        self.replicas = ranges.into_iter().flat_map(|it| it.replicas).collect();
        self.replicas.sort_unstable_by(|one, other| one.order().cmp(&other.order()));
        self.replicas.dedup();
        let Self { masters, replicas, nodes, .. } = self;
        nodes.retain(|host, _| masters.iter().flatten().chain(&*replicas).any(|it| it == host));
    }
}

/// What a node says about who has which slots.
struct Ranges(Vec<Range>);

struct Range {
    first: u16,
    last: u16,
    master: Host,
    replicas: Vec<Host>,
}

impl Ranges {
    fn parse(answer: Value, asked: &Host) -> RedisResult<Self> {
        let ranges: Vec<Vec<Value>> = from_redis_value(answer)?;
        let mut parsed = Vec::new();
        for range in ranges {
            let mut range = range.into_iter();
            let mut number = || from_redis_value::<u16>(range.next().unwrap_or(Value::Nil));
            let (first, last) = (number()?, number()?);
            let mut nodes = range.filter_map(|it| Host::parse(it, asked));
            if let Some(master) = nodes.next() {
                parsed.push(Range { first, last, master, replicas: nodes.collect() });
            }
        }
        Ok(Self(parsed))
    }
}

impl Host {
    fn of(server: &ConnectionInfo) -> RedisResult<Self> {
        match server.addr() {
            ConnectionAddr::Tcp(name, port) | ConnectionAddr::TcpTls { host: name, port, .. } => {
                Ok(Self { name: name.clone(), port: *port })
            }
            _ => {
                let kind = ErrorKind::InvalidClientConfig;
                Err((kind, "a node of a cluster is found by a host and a port").into())
            }
        }
    }

    /// A node that does not know its own name has that under which it was asked.
    fn parse(node: Value, asked: &Self) -> Option<Self> {
        let node: Vec<Value> = from_redis_value(node).ok()?;
        let [name, port, ..] = node.as_slice() else { return None };
        let name: Option<String> = from_redis_value(name.clone()).ok()?;
        let port = from_redis_value(port.clone()).ok()?;
        match name.as_deref() {
            Some("?") => None,
            None | Some("") => Some(Self { name: asked.name.clone(), port }),
            Some(name) => Some(Self { name: name.to_owned(), port }),
        }
    }

    fn like(self, address: &ConnectionAddr) -> ConnectionAddr {
        let Self { name, port } = self;
        match address.clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host: name, port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(name, port),
        }
    }

    fn order(&self) -> (&str, u16) {
        (&self.name, self.port)
    }
}
