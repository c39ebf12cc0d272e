//! Records in Redis.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use idem_core::{
    Announcements, Claim, Fence, Held, Judged, NoTransactions, Owner, Record, RecordId, Recover,
    Resolution, Store, StoreError, StoredResponse, Written,
};
use redis::IntoConnectionInfo;

use crate::{
    builder::RedisBuilder,
    connections::{Call, Connections},
    error::SetupError,
    keys::{Keys, Shard},
    listener::Listener,
    reply::{self, Reply},
    scripts::{Script, Scripts},
};

/// Records in Redis 7 or later, on one server or on a cluster.
///
/// Each operation is one script, which the server runs as a whole and decides by its own clock.
/// Records expire by themselves: [`sweep`](Store::sweep) finds nothing to do.
///
/// Redis has no transactions to lend to handlers, and replicates after it has answered: read [what
/// that means](crate#what-redis-can-lose) before you choose it.
///
/// A server that is restarted, and a failover that is over in time, cost no request its answer:
/// operations are sent again, which none of them minds.
///
/// TLS comes from [`redis`]: enable one of its features `tokio-…-tls-comp` in the application, and
/// write `rediss://`.
///
/// Clones share their connections.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use idem_core::Idem;
/// use idem_redis::RedisStore;
///
/// let store = RedisStore::connect("redis://localhost").await?;
/// let idem = Idem::builder(store).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    lanes: Lanes,
    scripts: Scripts,
    keys: Keys,
    /// Hears what ends, where that is told.
    listener: Option<Listener>,
    timeout: Duration,
}

/// Which connections an operation goes by.
pub(crate) struct Lanes {
    /// For what decides nothing, if that is not to wait for replicas.
    pub(crate) looking: Option<Connections>,
    pub(crate) deciding: Connections,
    /// Renewals never wait behind claims.
    pub(crate) renewals: Connections,
}

impl RedisStore {
    /// Connects to the server of a URL, with all settings as usual.
    ///
    /// # Errors
    ///
    /// As [`RedisBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, SetupError> {
        Self::builder(url).connect().await
    }

    /// A store on one server, with settings of its own: `RedisStore::builder("redis://localhost")`.
    /// What is wrong with a URL is an error when it connects.
    pub fn builder(server: impl IntoConnectionInfo) -> RedisBuilder {
        RedisBuilder::single(server)
    }

    /// A store on a cluster, of which some of the nodes are given, and the others found.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use idem_redis::RedisStore;
    ///
    /// let nodes = ["redis://10.0.0.1:6379", "redis://10.0.0.2:6379"];
    /// let store = RedisStore::cluster(nodes).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cluster<T: IntoConnectionInfo>(nodes: impl IntoIterator<Item = T>) -> RedisBuilder {
        RedisBuilder::cluster(nodes)
    }

    pub(crate) fn new(
        lanes: Lanes,
        keys: Keys,
        listener: Option<Listener>,
        timeout: Duration,
    ) -> Self {
        Self(Arc::new(Inner { lanes, scripts: Scripts::new(), keys, listener, timeout }))
    }
}

impl Inner {
    fn looking(&self) -> &Connections {
        self.lanes.looking.as_ref().unwrap_or(&self.lanes.deciding)
    }

    /// Runs a script about a record.
    async fn run(
        &self,
        connections: &Connections,
        script: &Script,
        id: &RecordId,
        arguments: &[&[u8]],
    ) -> Result<Reply, StoreError> {
        let shard = Shard::of(id);
        let keys = [self.keys.record(id.digest()), self.keys.fences(shard), self.keys.index(shard)];
        connections.run(&Call { script, shard, keys: &keys, arguments }).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Reply, StoreError> {
        let Owner { id, attempt } = &claim.owner;
        let suffix = Shard::of(id).suffix();
        let arguments: [&[u8]; 10] = [
            &text(&attempt.as_uuid()),
            claim.fingerprint.as_bytes(),
            match claim.recover {
                Recover::Retry => b"0",
                Recover::Hold => b"1",
            },
            &milliseconds(claim.lease),
            &milliseconds(claim.ttl),
            suffix.as_bytes(),
            id.digest(),
            id.operation().as_bytes(),
            id.scope().as_bytes(),
            id.key().as_bytes(),
        ];
        self.run(&self.lanes.deciding, &self.scripts.claim, id, &arguments).await
    }

    /// Ends what the owner has in flight, or what is held under it.
    async fn end(
        self: &Arc<Self>,
        owner: &Owner,
        from: &'static [u8],
        after: &Owner,
        ending: Ending<'_>,
    ) -> Result<Written, StoreError> {
        let (attempt, after) = (text(&owner.attempt.as_uuid()), text(&after.attempt.as_uuid()));
        let (state, ttl, response): (&[u8], _, _) = match ending {
            Ending::Completed(response, ttl) => (b"completed", milliseconds(ttl), Some(response)),
            Ending::Failed(ttl) => (b"failed", milliseconds(ttl), None),
            Ending::Held => (b"held", Vec::new(), None),
        };
        let channel = self.channel_for_scripts(&owner.id);
        let (status, lines);
        let mut arguments =
            vec![&attempt[..], from, &after, state, &ttl, owner.id.digest(), channel.as_bytes()];
        if let Some(response) = response {
            (status, lines) = (text(&response.status.as_u16()), response.header_lines());
            arguments.extend([&status[..], &lines]);
            arguments.extend(response.body.as_deref());
        }
        let reply =
            self.run(&self.lanes.deciding, &self.scripts.end, &owner.id, &arguments).await?;
        let written = reply::written(reply)?;
        self.tell_what_scripts_did_not(&owner.id, written);
        Ok(written)
    }

    /// Where a script tells what it ended: nowhere, if replicas have to acknowledge that first.
    fn channel_for_scripts(&self, id: &RecordId) -> String {
        if self.listener.is_some() && self.lanes.looking.is_none() {
            self.keys.channel(Shard::of(id))
        } else {
            String::new()
        }
    }

    /// Tells what replicas have acknowledged by now. Nobody waits for that.
    fn tell_what_scripts_did_not(self: &Arc<Self>, id: &RecordId, written: Written) {
        let is_to_tell = self.listener.is_some() && self.lanes.looking.is_some();
        if is_to_tell && written == Written::Accepted {
            let shard = Shard::of(id);
            let (inner, channel, digest) =
                (Arc::clone(self), self.keys.channel(shard), *id.digest());
            tokio::spawn(async move { inner.looking().tell(shard, &channel, &digest).await });
        }
    }

    /// What is held in a shard from a draw on: the first of it.
    async fn held_in(
        &self,
        shard: Shard,
        mut from: i64,
        limit: usize,
    ) -> Result<Vec<Held>, StoreError> {
        const AT_ONCE: usize = 100;
        let mut held = Vec::new();
        loop {
            let candidates = self.candidates(shard, from, AT_ONCE).await?;
            let Some((_, last)) = candidates.last() else {
                return Ok(held);
            };
            from = last + 1;
            let digests: Vec<&[u8]> = candidates.iter().map(|(digest, _)| &digest[..]).collect();
            let mut keys = vec![self.keys.index(shard)];
            keys.extend(candidates.iter().map(|(digest, _)| self.keys.record(digest)));
            let script = &self.scripts.held;
            let call = Call { script, shard, keys: &keys, arguments: &digests };
            held.extend(reply::held(self.looking().run(&call).await?)?);
            if candidates.len() < AT_ONCE || held.len() >= limit {
                return Ok(held);
            }
        }
    }

    async fn candidates(
        &self,
        shard: Shard,
        from: i64,
        limit: usize,
    ) -> Result<Vec<([u8; 32], i64)>, StoreError> {
        let keys = [self.keys.index(shard)];
        let arguments: [&[u8]; 2] = [&text(&from), &text(&limit)];
        let script = &self.scripts.candidates;
        let call = Call { script, shard, keys: &keys, arguments: &arguments };
        reply::candidates(self.looking().run(&call).await?)
    }
}

/// How a record ends.
enum Ending<'a> {
    Completed(&'a StoredResponse, Duration),
    Failed(Duration),
    Held,
}

const IN_FLIGHT: &[u8] = b"in flight";
const HELD: &[u8] = b"held";

#[async_trait]
impl Store for RedisStore {
    type Database = NoTransactions;

    /// A script that comes later than this does nothing, by the server's clock.
    fn server_timeout(&self) -> Option<Duration> {
        Some(self.0.timeout)
    }

    async fn claim(&self, claim: &Claim) -> Result<Judged, StoreError> {
        reply::judged(self.0.claim(claim).await?)
    }

    async fn complete(
        &self,
        owner: &Owner,
        response: &StoredResponse,
        ttl: Duration,
    ) -> Result<Written, StoreError> {
        self.0.end(owner, IN_FLIGHT, owner, Ending::Completed(response, ttl)).await
    }

    async fn fail(&self, owner: &Owner, ttl: Duration) -> Result<Written, StoreError> {
        self.0.end(owner, IN_FLIGHT, owner, Ending::Failed(ttl)).await
    }

    async fn hold(&self, owner: &Owner) -> Result<Written, StoreError> {
        self.0.end(owner, IN_FLIGHT, owner, Ending::Held).await
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Written, StoreError> {
        let arguments: [&[u8]; 2] = [&text(&owner.attempt.as_uuid()), &milliseconds(lease)];
        let Inner { lanes, scripts, .. } = &*self.0;
        let reply = self.0.run(&lanes.renewals, &scripts.renew, &owner.id, &arguments).await?;
        reply::written(reply)
    }

    async fn release(&self, owner: &Owner) -> Result<Written, StoreError> {
        let channel = self.0.channel_for_scripts(&owner.id);
        let arguments: [&[u8]; 3] =
            [&text(&owner.attempt.as_uuid()), owner.id.digest(), channel.as_bytes()];
        let Inner { lanes, scripts, .. } = &*self.0;
        let reply = self.0.run(&lanes.deciding, &scripts.release, &owner.id, &arguments).await?;
        let written = reply::written(reply)?;
        self.0.tell_what_scripts_did_not(&owner.id, written);
        Ok(written)
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        reply::record(self.0.run(self.0.looking(), &self.0.scripts.get, id, &[]).await?)
    }

    async fn not_in_flight(&self, ids: &[RecordId]) -> Result<Vec<RecordId>, StoreError> {
        let mut shards: BTreeMap<Shard, Vec<usize>> = BTreeMap::new();
        for (i, id) in ids.iter().enumerate() {
            shards.entry(Shard::of(id)).or_default().push(i);
        }
        let asking = shards.into_iter().map(async |(shard, indices)| {
            let keys: Vec<_> =
                indices.iter().map(|i| self.0.keys.record(ids[*i].digest())).collect();
            let script = &self.0.scripts.in_flight;
            let call = Call { script, shard, keys: &keys, arguments: &[] };
            let are_in_flight = reply::in_flight(self.0.looking().run(&call).await?)?;
            let others = indices.into_iter().zip(are_in_flight).filter(|(_, it)| !it);
            Ok::<_, StoreError>(others.map(|(i, _)| i).collect::<Vec<_>>())
        });
        let mut others = try_join_all(asking).await?.concat();
        others.sort_unstable();
        Ok(others.into_iter().map(|i| ids[i].clone()).collect())
    }

    fn announcements(&self) -> Option<Announcements> {
        self.0.listener.as_ref().map(Listener::announcements)
    }

    /// Finds nothing: the server deletes expired records by itself.
    async fn sweep(&self, _limit: u32) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn held(&self, after: Option<Fence>, limit: u32) -> Result<Vec<Held>, StoreError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let looking = Shard::all().map(|shard| {
            let from = after.map_or(0, |after| shard.first_draw_above(after));
            self.0.held_in(shard, from, limit)
        });
        let mut held = try_join_all(looking).await?.concat();
        held.sort_unstable_by_key(|it| it.fence);
        held.truncate(limit);
        Ok(held)
    }

    async fn resolve(&self, owner: &Owner, resolution: &Resolution) -> Result<Written, StoreError> {
        let attempt = resolution.attempt_after(owner.attempt);
        let after = Owner { id: owner.id.clone(), attempt };
        let ending = match resolution {
            Resolution::Completed { response, ttl } => Ending::Completed(response, *ttl),
            Resolution::Failed { ttl } => Ending::Failed(*ttl),
        };
        self.0.end(owner, HELD, &after, ending).await
    }
}

impl fmt::Debug for RedisStore {
    /// Without the servers: their URLs have passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.0.keys.prefix())
            .field("timeout", &self.0.timeout)
            .finish_non_exhaustive()
    }
}

fn text(value: &impl ToString) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// Rounded up, so that nothing ends early, and bounded to a thousand years, which is the same as
/// forever and overflows nowhere.
fn milliseconds(time: Duration) -> Vec<u8> {
    const MAX: u128 = 1000 * 365 * 24 * 60 * 60 * 1000;
    text(&time.as_nanos().div_ceil(1_000_000).min(MAX))
}
