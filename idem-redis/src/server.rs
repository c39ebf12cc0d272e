//! Connections as the driver makes them: for a cache, which is asked for so short a time that it does not
//! matter who else waits while the driver looks for a node of a cluster that it has lost.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, Pipeline, RedisResult, Value,
    aio::MultiplexedConnection,
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr},
};
use tokio::time::timeout;

use crate::{error::timed_out, link::Address};

/// Where a cache is, and how to connect to it.
#[derive(Clone)]
pub(crate) struct Server {
    client: Kind,
    patience: Duration,
}

#[derive(Clone)]
enum Kind {
    Single(Client, AsyncConnectionConfig),
    Cluster(ClusterClient),
}

impl Server {
    /// Connecting, and each answer, may take that long.
    pub(crate) fn at(address: Address, patience: Duration) -> RedisResult<Self> {
        let client = match address {
            Address::Single(server) => single(server, patience)?,
            Address::Cluster(nodes) => cluster(nodes, patience)?,
        };
        Ok(Self { client, patience })
    }

    pub(crate) async fn connect(&self) -> RedisResult<Connection> {
        let connecting = async {
            Ok(match &self.client {
                Kind::Single(client, config) => Connection::Single(
                    client.get_multiplexed_async_connection_with_config(config).await?,
                ),
                Kind::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
            })
        };
        timeout(self.patience, connecting).await.unwrap_or_else(|_| Err(timed_out()))
    }
}

fn single(server: ConnectionInfo, patience: Duration) -> RedisResult<Kind> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(patience))
        .set_response_timeout(Some(patience));
    Ok(Kind::Single(Client::open(server)?, config))
}

/// The driver follows slots that moved a few times.
fn cluster(nodes: Vec<ConnectionInfo>, patience: Duration) -> RedisResult<Kind> {
    let client = ClusterClientBuilder::new(nodes)
        .connection_timeout(patience / 2)
        .response_timeout(patience)
        .overall_response_timeout(None)
        .retries(3)
        .min_retry_wait(10)
        .max_retry_wait(50)
        .build()?;
    Ok(Kind::Cluster(client))
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
}
