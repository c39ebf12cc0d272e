//! Building a store.

use std::{fmt, time::Duration};

use futures_util::future::try_join_all;
use redis::{IntoConnectionInfo, RedisResult};
use tokio::time::timeout;

use crate::{
    clock::Clocks,
    connections::{Connections, Replicas, patience},
    error::{SetupError, timed_out},
    keys::{Keys, Shard},
    link::{Address, Link},
    listener::Listener,
    node::Dial,
    store::{Lanes, RedisStore},
    survey::{OnEviction, survey},
};

/// Sets what is not as usual about a [`RedisStore`]. Made by [`RedisStore::builder`] or
/// [`RedisStore::cluster`].
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use idem_redis::RedisStore;
///
/// let store = RedisStore::cluster(["redis://10.0.0.1", "redis://10.0.0.2"])
///     .prefix("shop:")
///     .require_replicas(1, Duration::from_millis(500))
///     .refuse_eviction()
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct RedisBuilder {
    address: RedisResult<Address>,
    prefix: String,
    timeout: Duration,
    replicas: Option<Replicas>,
    connections: u32,
    on_eviction: OnEviction,
    waiting: Waiting,
}

/// How those who wait learn what has ended in other processes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Waiting {
    Listens,
    Polls,
}

impl RedisBuilder {
    pub(crate) fn single(server: impl IntoConnectionInfo) -> Self {
        Self::new(Address::single(server))
    }

    pub(crate) fn cluster<T: IntoConnectionInfo>(nodes: impl IntoIterator<Item = T>) -> Self {
        Self::new(Address::cluster(nodes))
    }

    fn new(address: RedisResult<Address>) -> Self {
        Self {
            address,
            prefix: "idem:".to_owned(),
            timeout: Duration::from_secs(4),
            replicas: None,
            connections: 8,
            on_eviction: OnEviction::Warn,
            waiting: Waiting::Listens,
        }
    }

    /// What the names of all keys begin with: up to 100 visible ASCII characters, and no braces.
    /// Services that share a server share keys where their operations and scopes agree, unless their
    /// prefixes differ. Default: `idem:`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long an operation may take, with all that is repeated of it, and until when the server may
    /// begin it: must be shorter than the engine's store timeout. Connecting, and each single answer,
    /// may take half of it. Default: 4 seconds.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Has each claim, each ending and each replay acknowledged by that many replicas, with `WAIT`,
    /// within a time of less than half of the timeout. Otherwise the operation fails, with a
    /// [`NotReplicated`](crate::NotReplicated) as its source, although it may have happened. Default:
    /// none.
    ///
    /// That costs a round trip from the server to its replicas, and for a replay a write.
    pub const fn require_replicas(mut self, number: u32, within: Duration) -> Self {
        self.replicas = Some(Replicas { number, within });
        self
    }

    /// How many operations may wait for replicas at once, since each needs a connection for as long.
    /// Renewals have a quarter as many of their own. Without
    /// [`require_replicas`](Self::require_replicas), all operations share one connection to each
    /// server, renewals have another one, and this setting means nothing. Default: 8.
    pub const fn max_connections(mut self, number: u32) -> Self {
        self.connections = number;
        self
    }

    /// Has processes neither tell each other what has ended nor listen to it. Duplicates that wait
    /// (`on_conflict = "wait"`) for an execution in another process then get its answer when they ask
    /// for it the next time, as they do anyway where nothing is heard. Default: they listen.
    ///
    /// Whatever ends a record tells so in the same step, on a channel of its shard: a digest of the
    /// record's id, to whoever may subscribe to that. A process listens from the first request on that
    /// may have to wait, and until it is drained: by one more connection to each server that has records,
    /// on which it subscribes to the channels of all 256 shards. Where nobody ever waits, it is a message
    /// to nobody with each ending.
    pub const fn poll_only(mut self) -> Self {
        self.waiting = Waiting::Polls;
        self
    }

    /// Does not connect to a server that may evict records, or does not tell. Default: a warning in
    /// the log.
    pub const fn refuse_eviction(mut self) -> Self {
        self.on_eviction = OnEviction::Refuse;
        self
    }

    /// Connects, and looks at how the servers are set up.
    ///
    /// # Errors
    ///
    /// A [`SetupError`] if a setting makes no sense, or if the servers cannot be reached within half
    /// of the timeout, or are not what they should be.
    pub async fn connect(self) -> Result<RedisStore, SetupError> {
        let range = Duration::from_millis(10)..=Duration::from_hours(24);
        if !range.contains(&self.timeout) {
            return Err(SetupError::Timeout(self.timeout));
        }
        if let Some(replicas) = self.replicas {
            check_replicas(replicas, patience(self.timeout))?;
        }
        if self.connections == 0 {
            return Err(SetupError::NoConnections);
        }
        let patience = patience(self.timeout);
        let database = self.address.as_ref().map_or(0, Address::database);
        let keys = Keys::new(self.prefix, database)?;
        let address = self.address?;
        let listener = match self.waiting {
            Waiting::Listens => {
                let channels = Shard::all().map(|shard| (shard, keys.channel(shard))).collect();
                Some(Listener::new(address.clone(), patience, channels))
            }
            Waiting::Polls => None,
        };
        let first = open(&address, patience).await?;
        survey(&first, patience, self.on_eviction).await?;

        let clocks = Clocks::new();
        let shared = Connections::shared(first, self.timeout, clocks.clone());
        let lanes = match self.replicas {
            None => {
                let renewals = open(&address, patience).await?;
                let renewals = Connections::shared(renewals, self.timeout, clocks);
                Lanes { looking: None, deciding: shared, renewals }
            }
            Some(replicas) => {
                let waiting = async |number| {
                    let links = (0..number).map(|_| open(&address, patience));
                    let links = try_join_all(links).await?;
                    Ok::<_, SetupError>(Connections::waiting(
                        links,
                        self.timeout,
                        clocks.clone(),
                        replicas,
                    ))
                };
                let deciding = waiting(self.connections).await?;
                let renewals = waiting(self.connections.div_ceil(4)).await?;
                Lanes { looking: Some(shared), deciding, renewals }
            }
        };
        Ok(RedisStore::new(lanes, keys, listener, self.timeout))
    }
}

async fn open(address: &Address, patience: Duration) -> Result<Link, SetupError> {
    let opening = Link::open(address.clone(), Dial::new(patience));
    Ok(timeout(patience, opening).await.unwrap_or_else(|_| Err(timed_out()))?)
}

fn check_replicas(replicas: Replicas, patience: Duration) -> Result<(), SetupError> {
    let Replicas { number, within } = replicas;
    let is_whole = within.subsec_nanos() % 1_000_000 == 0;
    if number == 0 || within.is_zero() || !is_whole || within >= patience {
        return Err(SetupError::Replicas { number, within });
    }
    Ok(())
}

impl fmt::Debug for RedisBuilder {
    /// Without the servers: their URLs have passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuilder")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("replicas", &self.replicas)
            .field("max_connections", &self.connections)
            .field("on_eviction", &self.on_eviction)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}
