//! Copies of answers in Redis.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use idem_core::{Cache, CacheError, Found};
use redis::{
    ErrorKind, IntoConnectionInfo, Pipeline, RedisError, RedisResult, ServerErrorKind, Value,
    from_redis_value,
};
use tokio::time::{Instant, timeout};

use crate::{
    error::{SetupError, is_broken, timed_out},
    keys::{Keys, Shard},
    link::Address,
    server::Server,
    standing::{Made, Standing},
};

/// How long connecting may take, and an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a connection has to prove that it works, before there is another one.
const PROOF: Duration = Duration::from_millis(250);

const READ_ONLY: ErrorKind = ErrorKind::Server(ServerErrorKind::ReadOnly);

/// A [`Cache`] in Redis 6.2 or later, on one server or on a cluster: for processes that share what they
/// have replayed.
///
/// It connects when it is first asked, again whenever a connection has broken, and never fails for a
/// server that is not there: then nothing is cached. Nothing in it has to be kept: let the server evict
/// (`maxmemory-policy allkeys-lru`), without persistence. So it is better not the one of a
/// [`RedisStore`](crate::RedisStore).
///
/// What is kept expires by the clock of the server, at a time that is sent with it: what reaches a
/// server that froze too late has expired when it comes. After a failover an entry lives longer or
/// shorter by as much as the nodes' clocks differ.
///
/// TLS comes from [`redis`]: enable one of its features `tokio-…-tls-comp` in the application, and
/// write `rediss://`.
///
/// Clones share the connection.
///
/// ```no_run
/// # fn example(durable: impl idem_core::Store) -> Result<(), Box<dyn std::error::Error>> {
/// use idem_core::Tiered;
/// use idem_redis::RedisCache;
///
/// let store = Tiered::new(RedisCache::open("redis://localhost")?, durable);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisCache(Arc<Inner>);

struct Inner {
    standing: Standing,
    keys: Keys,
}

/// Sets what is not as usual about a [`RedisCache`].
#[must_use]
pub struct RedisCacheBuilder {
    address: RedisResult<Address>,
    prefix: String,
}

impl RedisCache {
    /// A cache on the server of a URL, with all settings as usual. Does not connect yet.
    ///
    /// # Errors
    ///
    /// A [`SetupError`] if that is no URL of Redis.
    pub fn open(url: &str) -> Result<Self, SetupError> {
        Self::builder(url).open()
    }

    /// A cache on one server, with settings of its own.
    pub fn builder(server: impl IntoConnectionInfo) -> RedisCacheBuilder {
        RedisCacheBuilder::new(Address::single(server))
    }

    /// A cache on a cluster, of which some of the nodes are given, and the others found.
    pub fn cluster<T: IntoConnectionInfo>(nodes: impl IntoIterator<Item = T>) -> RedisCacheBuilder {
        RedisCacheBuilder::new(Address::cluster(nodes))
    }
}

impl RedisCacheBuilder {
    fn new(address: RedisResult<Address>) -> Self {
        Self { address, prefix: "idem-cache:".to_owned() }
    }

    /// What the names of all keys begin with: up to 100 visible ASCII characters, and no braces. Stores
    /// that share a server are told from each other all the same, but take each other's places where
    /// operations, scopes and keys agree. Default: `idem-cache:`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Makes the cache. It does not connect yet.
    ///
    /// # Errors
    ///
    /// A [`SetupError`] if the prefix or a URL makes no sense.
    pub fn open(self) -> Result<RedisCache, SetupError> {
        let database = self.address.as_ref().map_or(0, Address::database);
        let keys = Keys::new(self.prefix, database)?;
        let standing = Standing::to(Server::at(self.address?, PATIENCE)?);
        Ok(RedisCache(Arc::new(Inner { standing, keys })))
    }
}

impl Inner {
    /// Sends commands about a key at once, on one connection. One that has broken is not used again.
    async fn send(
        &self,
        made: &Made,
        commands: Pipeline,
        key: &str,
    ) -> Result<std::vec::IntoIter<Value>, RedisError> {
        let sent = made.connection.clone().send(commands, key).await;
        if sent.as_ref().is_err_and(is_broken) {
            self.standing.discard(made);
        }
        Ok(sent?.into_iter())
    }

    async fn get_on(&self, made: &Made, digest: &[u8; 32]) -> RedisResult<Option<Found>> {
        let key = self.keys.record(digest);
        let mut commands = Pipeline::with_capacity(3);
        commands.cmd("TIME").cmd("GET").arg(&key).cmd("PTTL").arg(&key);
        let mut values = self.send(made, commands, &key).await?;
        let mut next = || values.next().unwrap_or(Value::Nil).extract_error();
        let (time, value, left) = (next()?, next(), next()?);
        made.clocks.learn(Shard::of_digest(digest), milliseconds(time)?);
        let value: Option<Vec<u8>> = match value {
            Ok(value) => from_redis_value(value)?,
            Err(error) if error.code() == Some("WRONGTYPE") => return Ok(Some(foreign())),
            Err(error) => return Err(error),
        };
        let left: i64 = from_redis_value(left)?;
        Ok(match (value, left) {
            // It may have expired between the two.
            (None, _) | (_, -2 | 0) => None,
            (Some(value), 1..) => {
                let expires_in = Duration::from_millis(left.unsigned_abs() - 1);
                Some(Found { value: value.into(), expires_in })
            }
            // Ours expire.
            (Some(_), _) => Some(foreign()),
        })
    }

    async fn server_time(&self, made: &Made, digest: &[u8; 32]) -> RedisResult<i64> {
        let mut commands = Pipeline::with_capacity(1);
        commands.cmd("TIME");
        let mut values = self.send(made, commands, &self.keys.record(digest)).await?;
        milliseconds(values.next().unwrap_or(Value::Nil).extract_error()?)
    }
}

/// What is no entry, for whoever asks to find that out.
const fn foreign() -> Found {
    Found { value: Bytes::new(), expires_in: Duration::ZERO }
}

/// What `TIME` answers, in milliseconds.
fn milliseconds(time: Value) -> RedisResult<i64> {
    let (seconds, micros): (i64, i64) = from_redis_value(time)?;
    seconds
        .checked_mul(1000)
        .and_then(|it| it.checked_add(micros / 1000))
        .ok_or_else(|| (ErrorKind::UnexpectedReturnType, "a time without end").into())
}

#[async_trait]
impl Cache for RedisCache {
    async fn get(&self, key: &[u8; 32]) -> Result<Option<Found>, CacheError> {
        let made = self.0.standing.connection().await?;
        Ok(self.0.get_on(&made, key).await?)
    }

    async fn put(&self, key: &[u8; 32], value: Bytes, until: Instant) -> Result<(), CacheError> {
        let Inner { standing, keys } = &*self.0;
        let made = standing.connection().await?;
        let shard = Shard::of_digest(key);
        if made.clocks.server(shard, until.into_std()).is_none() {
            made.clocks.learn(shard, self.0.server_time(&made, key).await?);
        }
        // Never later than `until`: what is known of the server's clock is not ahead of it.
        let Some(until) = made.clocks.server(shard, until.into_std()).filter(|it| *it > 0) else {
            return Ok(());
        };
        let key = keys.record(key);
        let mut commands = Pipeline::with_capacity(1);
        commands.cmd("SET").arg(&key).arg(&value[..]).arg("PXAT").arg(until);
        let mut values = self.0.send(&made, commands, &key).await?;
        let answer = values.next().unwrap_or(Value::Nil).extract_error();
        // A replica now: its name may have another server's address.
        if answer.as_ref().is_err_and(|it| it.kind() == READ_ONLY) {
            standing.discard(&made);
        }
        answer?;
        Ok(())
    }

    async fn check(&self) -> Result<(), CacheError> {
        const OF_NOBODY: [u8; 32] = [0; 32];
        let Inner { standing, .. } = &*self.0;
        let made = standing.connection().await?;
        let proof = timeout(PROOF, self.0.get_on(&made, &OF_NOBODY)).await;
        if proof.unwrap_or_else(|_| Err(timed_out())).is_ok() {
            return Ok(());
        }
        standing.discard(&made);
        let made = standing.connection().await?;
        self.0.get_on(&made, &OF_NOBODY).await?;
        Ok(())
    }
}

impl fmt::Debug for RedisCache {
    /// Without the servers: their URLs have passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCache").field("prefix", &self.0.keys.prefix()).finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisCacheBuilder {
    /// Without the servers: their URLs have passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCacheBuilder").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
