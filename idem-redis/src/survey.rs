//! What servers say of themselves when a store connects.

use std::time::Duration;

use redis::{Cmd, RedisResult, Value, from_redis_value};
use tokio::time::timeout;

use crate::{
    error::{SetupError, is_broken},
    link::Link,
};

/// What to do about servers that may evict records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum OnEviction {
    Warn,
    Refuse,
}

/// Whether a server evicts records when its memory is full.
#[derive(Debug, PartialEq)]
enum Eviction {
    Never,
    /// By its `maxmemory-policy`. Records carry an expiry, so `volatile-…` means them, too.
    By(String),
    /// It does not say.
    Unknown,
}

/// Looks at every server that has records, and at those that may have them after a failover, if all of
/// them are there.
pub(crate) async fn survey(
    link: &Link,
    patience: Duration,
    on_eviction: OnEviction,
) -> Result<(), SetupError> {
    let info = info();
    let (masters, replicas) = tokio::join!(
        timeout(patience, link.ask_masters(&info)),
        timeout(patience / 2, link.ask_replicas(&info)),
    );
    // A server that forbids `INFO` can be used all the same.
    let masters = match masters.map_err(|_| SetupError::TimedOut(patience))? {
        Err(error) if is_broken(&error) => return Err(error.into()),
        masters => masters.unwrap_or_else(|_| vec![Value::Nil]),
    };
    // They may be gone.
    let replicas = replicas.ok().and_then(Result::ok).unwrap_or_default();
    for answer in masters.into_iter().chain(replicas) {
        let info = text(answer).unwrap_or_default();
        if !link.is_cluster() && field(&info, "cluster_enabled") == Some("1") {
            return Err(SetupError::IsCluster);
        }
        judge(eviction(&info), on_eviction)?;
    }
    Ok(())
}

fn info() -> Cmd {
    let mut info = Cmd::new();
    info.arg("INFO");
    info
}

fn text(info: Value) -> RedisResult<String> {
    Ok(from_redis_value(info)?)
}

fn judge(eviction: Eviction, on_eviction: OnEviction) -> Result<(), SetupError> {
    match (eviction, on_eviction) {
        (Eviction::Never, _) => {}
        (Eviction::By(policy), OnEviction::Refuse) => return Err(SetupError::Evicts { policy }),
        (Eviction::By(policy), OnEviction::Warn) => tracing::warn!(
            policy,
            "this Redis server may evict records before they expire, and what was done would be \
             done again: set maxmemory-policy to noeviction"
        ),
        (Eviction::Unknown, OnEviction::Refuse) => return Err(SetupError::EvictionUnknown),
        (Eviction::Unknown, OnEviction::Warn) => tracing::warn!(
            "this Redis server does not tell its maxmemory-policy: if that is not noeviction, \
             records may be evicted before they expire, and what was done would be done again"
        ),
    }
    Ok(())
}

/// A server whose memory has no bound evicts nothing.
fn eviction(info: &str) -> Eviction {
    match (field(info, "maxmemory_policy"), field(info, "maxmemory")) {
        (Some("noeviction"), _) | (Some(_), Some("0")) => Eviction::Never,
        (Some(policy), _) => Eviction::By(policy.to_owned()),
        (None, _) => Eviction::Unknown,
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bounded_memory_and_another_policy_than_noeviction_evict() {
        let of = |maxmemory: &str, policy: &str| {
            eviction(&format!("maxmemory:{maxmemory}\r\nmaxmemory_policy:{policy}\r\n"))
        };
        assert_eq!(of("0", "noeviction"), Eviction::Never);
        assert_eq!(of("1000", "noeviction"), Eviction::Never);
        assert_eq!(of("0", "allkeys-lru"), Eviction::Never);
        for policy in ["allkeys-lru", "volatile-lru", "volatile-ttl", "allkeys-random"] {
            assert_eq!(of("1000", policy), Eviction::By(policy.to_owned()));
        }
        assert_eq!(eviction(""), Eviction::Unknown);
        assert_eq!(eviction("maxmemory_policy:volatile-lru"), Eviction::By("volatile-lru".into()));
    }
}
