//! A store on Redis and Redis Cluster for [Idem](https://docs.rs/idem-rs).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use idem_core::Idem;
//! use idem_redis::RedisStore;
//!
//! let store = RedisStore::connect("redis://localhost").await?;
//! let idem = Idem::builder(store).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! Applications use it through the facade crate `idem-rs`, feature `redis`.
//!
//! # What Redis can lose
//!
//! Everything that Idem promises of a leased execution holds for as long as Redis keeps what it
//! acknowledged. By itself it does not keep all of it:
//!
//! - **Failover.** A master answers before its replicas have what it wrote. When one of them takes over,
//!   the last writes are gone, usually those of some milliseconds. When the old master was only cut off,
//!   so is all that it answered until it noticed. A lost claim lets a second execution run beside the
//!   first one; a lost ending lets a retry execute again although a client has its answer. That is so
//!   under `recover = "hold"`, too.
//!   [`require_replicas`](RedisBuilder::require_replicas) has each claim, each renewal, each ending and
//!   each replay acknowledged by replicas before anybody goes on. Then a failover to one of *those*
//!   replicas loses nothing of it. Redis prefers the replica that has most, without a promise: have as
//!   many acknowledge as there are. Still, an execution that has ended and that no replica acknowledges
//!   is answered, as with every store that is down at that moment, while the engine goes on trying.
//! - **Restart.** Without an append-only file, a server that is started again has lost everything since
//!   its last snapshot, and its replicas take over what it has not. With `appendfsync everysec`, a power
//!   cut costs about the last second, and with `appendfsync always` nothing.
//! - **Eviction.** A server with bounded memory and another `maxmemory-policy` than `noeviction` drops
//!   records before they expire. The store warns when it connects to such a server, or refuses it
//!   ([`refuse_eviction`](RedisBuilder::refuse_eviction)). A full server that evicts nothing refuses
//!   claims, which is a 503; what runs is renewed and recorded all the same.
//!
//! What remains when a record is lost: the keys that `Attempt::child_key` makes for calls to other
//! systems are the same in every execution, so the other system recognises the second one. And fences go
//! on growing, unless the clock of the server that took over is behind.
//!
//! # Time
//!
//! Leases and lives are counted by the clock of the server that has the record: keep the clocks of all
//! nodes together. A script is told by which time of the server it must have begun
//! ([`timeout`](RedisBuilder::timeout) after it was sent) and does nothing when it comes later, so that
//! what was given up does not happen when a server that froze goes on.
//!
//! A fence is the server's clock in microseconds, and three digits for the shard; it is at least one more
//! than the last one that the shard drew. So it grows with each claim of a record, also after the record
//! was deleted or has expired, whatever the clock does. Where Redis has lost the shard's last fence, it
//! grows as long as the clock is not set back behind it.
//!
//! # Keys
//!
//! A record is in one of 256 shards, by the first byte of its digest. All keys of a shard have the same
//! hash tag, so that a script finds them on one node of a cluster:
//!
//! | key | what it is |
//! |---|---|
//! | `idem:{2f}:2f3a…` | a hash, named by the digest of the record's id: `operation`, `scope`, `key`, `state`, `attempt`, `fence`, `number`, `after`, `created_at`, `lease_until`, `expires_at` (milliseconds), `status`, `headers`, `body` |
//! | `idem:{2f}:fence` | the last fence of the shard, without its last three digits |
//! | `idem:{2f}:held` | a sorted set of the digests of records that are held, or will be when their lease lapses, by their fence |
//!
//! Records expire by themselves (`PEXPIREAT`), and only those that await a decision never do. To forget
//! a record, delete its hash; the rest follows. While a slot moves to another node, a key at a time,
//! requests of its shard wait for that.
//!
//! What has ended is told on a channel of its shard, `idem:{2f}:ended:0` in database 0: the digest of the
//! record's id, in 32 bytes.
//!
//! A user of Redis needs these rights: `~idem:* +eval +evalsha +time +hmget +hget +hset +hdel +exists +del
//! +persist +pexpireat +get +set +zadd +zrem +zrangebyscore`, for `require_replicas` also `+wait`, on a
//! cluster also `+cluster|slots +asking`, `+info` for the look at what the server evicts, and `&idem:*
//! +ssubscribe +spublish +ping` to tell and to hear what has ended. Without the last ones those who wait
//! poll, and a warning says so once.

mod builder;
mod cache;
mod clock;
mod cluster;
mod connections;
mod error;
mod keys;
mod lane;
mod link;
mod listener;
mod node;
mod reply;
mod scripts;
mod server;
mod standing;
mod store;
mod survey;

pub use crate::{
    builder::RedisBuilder,
    cache::{RedisCache, RedisCacheBuilder},
    error::{NotReplicated, SetupError},
    store::RedisStore,
};
