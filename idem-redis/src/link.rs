//! The way to whoever has a shard: a server, or a node of a cluster.

use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use redis::{Cmd, ConnectionInfo, IntoConnectionInfo, Pipeline, RedisResult, Value};

use crate::{
    cluster::{Cluster, Redirect},
    keys::Shard,
    node::{Dial, Node, Numbered},
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
