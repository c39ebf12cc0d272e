//! Connections that are made again when they break.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::{join_all, try_join_all};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, IntoConnectionInfo, Pipeline,
    ProtocolVersion, RedisResult, Value,
    aio::{AsyncPushSender, MultiplexedConnection},
};
use tokio::{sync::Mutex as AsyncMutex, time::timeout};

use crate::{
    cluster::{Cluster, Redirect},
    error::{is_broken, timed_out},
    keys::Shard,
};

/// Who to connect to.
#[derive(Clone)]
pub(crate) enum Address {
    Single(ConnectionInfo),
    /// Some of the nodes.
    Cluster(Vec<ConnectionInfo>),
}

impl Address {
    pub(crate) fn single(server: impl IntoConnectionInfo) -> RedisResult<Self> {
        server.into_connection_info().map(Self::Single)
    }

    pub(crate) fn cluster<T: IntoConnectionInfo>(
        nodes: impl IntoIterator<Item = T>,
    ) -> RedisResult<Self> {
        let nodes = nodes.into_iter().map(IntoConnectionInfo::into_connection_info);
        nodes.collect::<RedisResult<_>>().map(Self::Cluster)
    }

    /// The number of the database.
    pub(crate) fn database(&self) -> i64 {
        let server = match self {
            Self::Single(server) => Some(server),
            Self::Cluster(nodes) => nodes.first(),
        };
        server.map_or(0, |it| it.redis_settings().db())
    }
}

/// How to connect.
#[derive(Clone)]
pub(crate) struct Dial {
    config: AsyncConnectionConfig,
    protocol: Option<ProtocolVersion>,
    /// How long connecting may take, and each answer.
    pub(crate) patience: Duration,
}

impl Dial {
    /// Nothing is said but answers.
    pub(crate) fn new(patience: Duration) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(patience))
            .set_response_timeout(Some(patience));
        Self { config, protocol: None, patience }
    }

    /// What servers say besides answers, and that a connection was lost, goes here.
    pub(crate) fn hearing(patience: Duration, sender: impl AsyncPushSender) -> Self {
        let Self { config, .. } = Self::new(patience);
        let protocol = Some(ProtocolVersion::RESP3);
        Self { config: config.set_push_sender(sender), protocol, patience }
    }
}

/// A server, and the connection to it.
pub(crate) struct Node {
    client: Client,
    dial: Dial,
    current: Mutex<Option<Numbered>>,
    /// How many connections were made.
    connecting: AsyncMutex<u64>,
}

#[derive(Clone)]
struct Numbered {
    connection: MultiplexedConnection,
    number: u64,
}

impl Node {
    pub(crate) fn new(server: ConnectionInfo, dial: Dial) -> RedisResult<Self> {
        let server = match dial.protocol {
            Some(protocol) => {
                let settings = server.redis_settings().clone().set_protocol(protocol);
                server.set_redis_settings(settings)
            }
            None => server,
        };
        let client = Client::open(server)?;
        Ok(Self { client, dial, current: Mutex::default(), connecting: AsyncMutex::new(0) })
    }

    /// The connection, which is made if there is none.
    async fn connection(&self) -> RedisResult<Numbered> {
        let current = || lock(&self.current).clone();
        if let Some(current) = current() {
            return Ok(current);
        }
        let mut made = self.connecting.lock().await;
        if let Some(current) = current() {
            return Ok(current);
        }
        let connecting =
            self.client.get_multiplexed_async_connection_with_config(&self.dial.config);
        let connected = timeout(self.dial.patience, connecting).await;
        let connection = connected.unwrap_or_else(|_| Err(timed_out()))?;
        *made += 1;
        let new = Numbered { connection, number: *made };
        *lock(&self.current) = Some(new.clone());
        Ok(new)
    }

    /// Sends a command that is for no key.
    pub(crate) async fn ask(&self, command: &Cmd) -> RedisResult<Value> {
        let numbered = self.connection().await?;
        let answer = numbered.connection.clone().send_packed_command(command).await;
        let answer = answer.and_then(Value::extract_error);
        if answer.as_ref().is_err_and(is_broken) {
            self.gave_trouble(&numbered);
        }
        answer
    }

    /// Has whoever comes next connect anew.
    pub(crate) fn hang_up(&self) {
        *lock(&self.current) = None;
    }

    /// Takes a connection out of use.
    fn gave_trouble(&self, trouble: &Numbered) {
        let mut current = lock(&self.current);
        if current.as_ref().is_some_and(|it| it.number == trouble.number) {
            *current = None;
        }
    }
}

/// The servers.
pub(crate) enum Link {
    Single(Arc<Node>),
    Cluster(Box<Cluster>),
}

/// To the server that has a shard.
pub(crate) struct Way {
    node: Arc<Node>,
    connection: Numbered,
    /// Whether the server is to be told that another one sent us.
    is_asking: bool,
}

impl Link {
    /// Connects; to a cluster as far as is needed to know it.
    pub(crate) async fn open(address: Address, dial: Dial) -> RedisResult<Self> {
        match address {
            Address::Single(server) => {
                let node = Node::new(server, dial)?;
                node.connection().await?;
                Ok(Self::Single(Arc::new(node)))
            }
            Address::Cluster(nodes) => {
                Ok(Self::Cluster(Box::new(Cluster::open(nodes, dial).await?)))
            }
        }
    }

    /// The way to a shard, if need be by a new connection, or where a server has sent us.
    pub(crate) async fn way(&self, shard: Shard, redirect: Option<&Redirect>) -> RedisResult<Way> {
        let node = match self {
            Self::Single(node) => Arc::clone(node),
            Self::Cluster(cluster) => cluster.node_of(shard, redirect)?,
        };
        let connection = node.connection().await?;
        Ok(Way { node, connection, is_asking: matches!(redirect, Some(Redirect::Ask(_))) })
    }

    /// Finds out again who has what, after something went wrong.
    pub(crate) async fn look_around(&self) {
        if let Self::Cluster(cluster) = self {
            cluster.look_around().await;
        }
    }

    /// Subscribes to channels, each of which is a shard's.
    pub(crate) async fn subscribe(&self, channels: &[(Shard, String)]) -> RedisResult<()> {
        match self {
            Self::Single(node) => subscribe(node, channels.iter().map(|(_, it)| it)).await,
            Self::Cluster(cluster) => {
                let nodes = cluster.by_node(channels)?;
                try_join_all(nodes.iter().map(|(node, it)| subscribe(node, it.iter().copied())))
                    .await
                    .map(drop)
            }
        }
    }

    /// Asks each server that has records.
    pub(crate) async fn ask_masters(&self, command: &Cmd) -> RedisResult<Vec<Value>> {
        match self {
            Self::Single(node) => Ok(vec![node.ask(command).await?]),
            Self::Cluster(cluster) => {
                try_join_all(cluster.masters()?.iter().map(|it| it.ask(command))).await
            }
        }
    }

    /// Asks each server that has no records, and may have some after a failover; those that answer.
    pub(crate) async fn ask_replicas(&self, command: &Cmd) -> RedisResult<Vec<Value>> {
        match self {
            Self::Single(_) => Ok(Vec::new()),
            Self::Cluster(cluster) => {
                let replicas = cluster.replicas()?;
                let answers = join_all(replicas.iter().map(|it| it.ask(command))).await;
                Ok(answers.into_iter().filter_map(Result::ok).collect())
            }
        }
    }

    pub(crate) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

async fn subscribe(node: &Node, channels: impl Iterator<Item = &String>) -> RedisResult<()> {
    let mut commands = Pipeline::new();
    for channel in channels {
        commands.cmd("SSUBSCRIBE").arg(channel);
    }
    let count = commands.len();
    let Numbered { mut connection, .. } = node.connection().await?;
    let answers = connection.send_packed_commands(&commands, 0, count).await?;
    answers.into_iter().try_for_each(|it| it.extract_error().map(drop))
}

impl Way {
    /// Sends commands at once.
    pub(crate) async fn send(&self, commands: Vec<Cmd>) -> RedisResult<Vec<Value>> {
        let mut pipeline = Pipeline::with_capacity(commands.len() + 1);
        if self.is_asking {
            pipeline.cmd("ASKING");
        }
        let (asking, count) = (pipeline.len(), commands.len());
        for command in commands {
            pipeline.add_command(command);
        }
        let mut connection = self.connection.connection.clone();
        connection.send_packed_commands(&pipeline, asking, count).await
    }

    /// Takes the connection out of use.
    pub(crate) fn gave_trouble(&self) {
        self.node.gave_trouble(&self.connection);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
