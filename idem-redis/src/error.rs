//! What goes wrong while a store is set up, and how errors of the driver reach the engine.

use std::{io, time::Duration};

use idem_core::StoreError;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a store could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The prefix cannot begin the names of keys.
    #[error(
        "{prefix:?} cannot begin the names of keys; take up to 100 visible ASCII characters and no \
         braces"
    )]
    Prefix {
        /// The prefix.
        prefix: String,
    },
    /// A timeout of less than ten milliseconds, or more than a day.
    #[error("a timeout of {0:?} cannot be set; take one between ten milliseconds and a day")]
    Timeout(Duration),
    /// Waiting for no replica, for no time, or for too long.
    #[error(
        "waiting {within:?} for {number} replicas cannot be set; wait for at least one, for a whole \
         number of milliseconds, and for less than half of the timeout"
    )]
    Replicas {
        /// How many replicas are to acknowledge a write.
        number: u32,
        /// Within which time.
        within: Duration,
    },
    /// No connections.
    #[error("a store needs at least one connection")]
    NoConnections,
    /// The server or the cluster cannot be reached, or the URL is none of Redis.
    #[error("Redis cannot be reached")]
    Connect(#[source] RedisError),
    /// The server did not answer in time.
    #[error("Redis did not answer within {0:?}")]
    TimedOut(Duration),
    /// The server is part of a cluster.
    #[error("the server is part of a cluster; connect to it with `RedisStore::cluster`")]
    IsCluster,
    /// The server may evict records.
    #[error(
        "the server may evict records before they expire (maxmemory-policy {policy}), and what was \
         done would be done again; set maxmemory-policy to noeviction"
    )]
    Evicts {
        /// Its `maxmemory-policy`.
        policy: String,
    },
    /// The server does not say whether it evicts records.
    #[error(
        "the server does not tell its maxmemory-policy, so it may evict records; allow INFO, or do \
         without `refuse_eviction`"
    )]
    EvictionUnknown,
}

impl From<RedisError> for SetupError {
    fn from(error: RedisError) -> Self {
        Self::Connect(error)
    }
}

/// A write was made and too few replicas acknowledged it in time: a failover may lose it. The source
/// of a [`StoreError::Unavailable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{acknowledged} of {required} replicas acknowledged the write in time")]
#[non_exhaustive]
pub struct NotReplicated {
    /// How many replicas acknowledged it.
    pub acknowledged: u32,
    /// How many were to.
    pub required: u32,
}

/// Something that cannot be asked for another time.
pub(crate) fn store_error(error: RedisError) -> StoreError {
    match error.code() {
        Some("OOM") => StoreError::Full { limit: "maxmemory of the Redis server".to_owned() },
        Some("WRONGTYPE") => StoreError::Damaged("a key of ours holds a value of another type"),
        _ => StoreError::unavailable(error),
    }
}

/// Whether the server did nothing, and may be able to do it a little later: it starts, its cluster
/// fails over or moves a slot, or it is busy with somebody else's script.
pub(crate) fn is_passing(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
        )
    ) || error.code() == Some("BUSY")
}

/// Whether the connection failed, and not the command.
pub(crate) fn is_broken(error: &RedisError) -> bool {
    !matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

pub(crate) fn timed_out() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}
