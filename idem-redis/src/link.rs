//! Connections that are made again when they break.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::try_join_all;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, IntoConnectionInfo, Pipeline,
    ProtocolVersion, PushInfo, RedisResult, Value,
    aio::MultiplexedConnection,
    cluster::{ClusterClient, ClusterClientBuilder, ClusterConfig},
    cluster_async::ClusterConnection,
    cluster_routing::{
        MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr,
    },
};
use tokio::{
    sync::{
        Mutex as AsyncMutex,
        mpsc::{UnboundedReceiver, unbounded_channel},
    },
    time::timeout,
};

use crate::error::timed_out;

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

    /// By which nothing is said but answers.
    pub(crate) fn server(self, patience: Duration) -> RedisResult<Server> {
        match self {
            Self::Single(server) => Server::single(server, patience),
            Self::Cluster(nodes) => {
                Ok(Server::Cluster(cluster(nodes, patience).build()?, patience))
            }
        }
    }

    /// By which servers say more than answers.
    pub(crate) fn talkative_server(self, patience: Duration) -> RedisResult<Server> {
        const PROTOCOL: ProtocolVersion = ProtocolVersion::RESP3;
        match self {
            Self::Single(server) => {
                let settings = server.redis_settings().clone().set_protocol(PROTOCOL);
                Server::single(server.set_redis_settings(settings), patience)
            }
            Self::Cluster(nodes) => {
                let client = cluster(nodes, patience).use_protocol(PROTOCOL).build()?;
                Ok(Server::Cluster(client, patience))
            }
        }
    }
}

/// The driver follows slots that moved a few times; all else is repeated by us.
fn cluster(nodes: Vec<ConnectionInfo>, patience: Duration) -> ClusterClientBuilder {
    ClusterClientBuilder::new(nodes)
        .connection_timeout(patience / 2)
        .response_timeout(patience)
        .overall_response_timeout(None)
        .retries(3)
        .min_retry_wait(10)
        .max_retry_wait(50)
}

/// How to connect.
#[derive(Clone)]
pub(crate) enum Server {
    Single(Client, AsyncConnectionConfig),
    Cluster(ClusterClient, Duration),
}

impl Server {
    fn single(server: ConnectionInfo, patience: Duration) -> RedisResult<Self> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(patience))
            .set_response_timeout(Some(patience));
        Ok(Self::Single(Client::open(server)?, config))
    }

    async fn connect(&self) -> RedisResult<Connection> {
        Ok(match self {
            Self::Single(client, config) => Connection::Single(
                client.get_multiplexed_async_connection_with_config(config).await?,
            ),
            Self::Cluster(client, _) => Connection::Cluster(client.get_async_connection().await?),
        })
    }

    /// Connects, and hands out what the server says besides answers, also that it was lost.
    pub(crate) async fn connect_and_hear(
        &self,
    ) -> RedisResult<(Connection, UnboundedReceiver<PushInfo>)> {
        let (sender, pushes) = unbounded_channel();
        let connection = match self {
            Self::Single(client, config) => {
                let config = config.clone().set_push_sender(sender);
                Connection::Single(
                    client.get_multiplexed_async_connection_with_config(&config).await?,
                )
            }
            Self::Cluster(client, patience) => {
                // It replaces the client's own, also where it says nothing.
                let config =
                    ClusterConfig::new().set_response_timeout(*patience).set_push_sender(sender);
                Connection::Cluster(client.get_async_connection_with_config(config).await?)
            }
        };
        Ok((connection, pushes))
    }
}

/// To a server, or to each node of a cluster. Clones share it, and may use it at the same time.
#[derive(Clone)]
pub(crate) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    /// Sends commands at once, on one connection, to the server that has the key.
    pub(crate) async fn send(&mut self, commands: Pipeline, key: &str) -> RedisResult<Vec<Value>> {
        let count = commands.len();
        match self {
            Self::Single(connection) => connection.send_packed_commands(&commands, 0, count).await,
            Self::Cluster(connection) => {
                let route =
                    SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
                connection.route_pipeline(commands, 0, count, route).await
            }
        }
    }

    /// Subscribes to channels, each of which is a shard's.
    pub(crate) async fn subscribe(&mut self, channels: &[String]) -> RedisResult<()> {
        match self {
            Self::Single(connection) => {
                let mut commands = Pipeline::with_capacity(channels.len());
                for channel in channels {
                    commands.cmd("SSUBSCRIBE").arg(channel);
                }
                let answers = connection.send_packed_commands(&commands, 0, channels.len()).await?;
                answers.into_iter().try_for_each(|it| it.extract_error().map(drop))
            }
            Self::Cluster(connection) => {
                let subscribing = channels.iter().map(|channel| {
                    let mut connection = connection.clone();
                    async move { connection.ssubscribe(channel).await }
                });
                try_join_all(subscribing).await.map(drop)
            }
        }
    }

    /// Asks each server that has records.
    pub(crate) async fn ask_masters(&mut self, command: Cmd) -> RedisResult<Vec<Value>> {
        self.ask(command, MultipleNodeRoutingInfo::AllMasters).await
    }

    /// Asks each server that has records, or may have them after a failover.
    pub(crate) async fn ask_all(&mut self, command: Cmd) -> RedisResult<Vec<Value>> {
        self.ask(command, MultipleNodeRoutingInfo::AllNodes).await
    }

    async fn ask(&mut self, command: Cmd, of: MultipleNodeRoutingInfo) -> RedisResult<Vec<Value>> {
        match self {
            Self::Single(connection) => Ok(vec![connection.send_packed_command(&command).await?]),
            Self::Cluster(connection) => {
                let of = RoutingInfo::MultiNode((of, None));
                match connection.route_command(command, of).await? {
                    Value::Map(answers) => Ok(answers.into_iter().map(|(_, it)| it).collect()),
                    other => Ok(vec![other]),
                }
            }
        }
    }
}

/// A connection, and how to get another one.
pub(crate) struct Link {
    server: Server,
    patience: Duration,
    current: Mutex<Numbered>,
    connecting: AsyncMutex<()>,
}

/// Which of a link's connections it is.
#[derive(Clone)]
pub(crate) struct Numbered {
    pub(crate) connection: Connection,
    number: u64,
    /// Nobody is to use it any more.
    is_closed: bool,
}

impl Link {
    pub(crate) async fn open(server: Server, patience: Duration) -> RedisResult<Self> {
        let connection = connect(&server, patience).await?;
        let current = Mutex::new(Numbered { connection, number: 0, is_closed: false });
        Ok(Self { server, patience, current, connecting: AsyncMutex::new(()) })
    }

    /// The connection, or a new one instead of one that gave trouble.
    pub(crate) async fn connection(&self, trouble: Option<&Numbered>) -> RedisResult<Numbered> {
        let is_usable = |it: &Numbered| {
            !it.is_closed && trouble.is_none_or(|trouble| trouble.number != it.number)
        };
        let current = self.current();
        if is_usable(&current) {
            return Ok(current);
        }
        let _one_at_a_time = self.connecting.lock().await;
        let current = self.current();
        if is_usable(&current) {
            return Ok(current);
        }
        let connection = connect(&self.server, self.patience).await?;
        let new = Numbered { connection, number: current.number + 1, is_closed: false };
        *lock(&self.current) = new.clone();
        Ok(new)
    }

    /// Takes a server's connection out of use. Of a cluster's, others go on using it until there is a
    /// new one: they may ask other nodes.
    pub(crate) fn gave_trouble(&self, trouble: &Numbered) {
        let mut current = lock(&self.current);
        if current.number == trouble.number {
            current.is_closed = matches!(current.connection, Connection::Single(_));
        }
    }

    fn current(&self) -> Numbered {
        lock(&self.current).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) async fn connect(server: &Server, patience: Duration) -> RedisResult<Connection> {
    timeout(patience, server.connect()).await.unwrap_or_else(|_| Err(timed_out()))
}
