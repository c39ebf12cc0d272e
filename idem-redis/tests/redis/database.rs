//! Records under a prefix of their own, and a look at them from outside.

use std::{fmt::Write, sync::Arc, time::Duration};

use idem_core::{RECORD_VERSION, RecordId, Store};
use idem_redis::{RedisBuilder, RedisStore};
use idem_testkit::{Harness, RedisCluster, RedisServer, async_trait};
use redis::{Client, FromRedisValue, Script, Value, aio::MultiplexedConnection};

/// What holds the records.
#[derive(Clone)]
pub(crate) enum Place {
    Server(String),
    Cluster(Vec<String>),
}

/// Keys of a prefix.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) place: Place,
    pub(crate) prefix: String,
    replicas: u32,
}

impl Database {
    pub(crate) fn on_server() -> Self {
        Self::on(RedisServer::shared())
    }

    pub(crate) fn on(server: &RedisServer) -> Self {
        Self { place: Place::Server(server.url()), prefix: server.fresh_prefix(), replicas: 0 }
    }

    pub(crate) fn on_cluster() -> Self {
        Self::on_nodes(RedisCluster::shared())
    }

    pub(crate) fn on_nodes(cluster: &RedisCluster) -> Self {
        Self { place: Place::Cluster(cluster.urls()), prefix: cluster.fresh_prefix(), replicas: 0 }
    }

    /// Of which each write is acknowledged by a replica.
    pub(crate) fn with_replicas() -> Self {
        Self { replicas: 1, ..Self::on_cluster() }
    }

    pub(crate) fn builder(&self) -> RedisBuilder {
        let builder = match &self.place {
            Place::Server(url) => RedisStore::builder(url.as_str()),
            Place::Cluster(urls) => RedisStore::cluster(urls.iter().map(String::as_str)),
        };
        let builder = builder.prefix(&self.prefix);
        match self.replicas {
            0 => builder,
            number => builder.require_replicas(number, Duration::from_secs(1)),
        }
    }

    pub(crate) async fn store(&self) -> RedisStore {
        self.builder().connect().await.unwrap()
    }

    /// The key of a record.
    pub(crate) fn key(&self, id: &RecordId) -> String {
        let mut key = format!("{}{{{:02x}}}:", self.prefix, id.digest()[0]);
        id.digest().iter().for_each(|byte| write!(key, "{byte:02x}").unwrap());
        key
    }

    /// The other keys of a record's shard.
    pub(crate) fn beside(&self, id: &RecordId, name: &str) -> String {
        format!("{}{{{:02x}}}:{name}", self.prefix, id.digest()[0])
    }

    /// Runs a script on each master, over all records of the prefix.
    async fn on_each_master<T: FromRedisValue>(&self, script: &str, argument: i64) -> Vec<T> {
        let urls = match &self.place {
            Place::Server(url) => std::slice::from_ref(url),
            Place::Cluster(urls) => urls,
        };
        let pattern = format!("{}{{??}}:{}", self.prefix, "?".repeat(64));
        let mut answers = Vec::new();
        for url in urls {
            let mut connection = connect(url).await;
            let role: Vec<Value> = redis::cmd("ROLE").query_async(&mut connection).await.unwrap();
            if role[0] == Value::BulkString(b"master".to_vec()) {
                let script = Script::new(script);
                let mut run = script.prepare_invoke();
                run.arg(&pattern).arg(argument);
                answers.push(run.invoke_async(&mut connection).await.unwrap());
            }
        }
        answers
    }

    /// Runs a command about one key, wherever that is.
    pub(crate) async fn command<T: FromRedisValue>(&self, command: &[&str]) -> T {
        let mut parts = redis::cmd(command[0]);
        parts.arg(&command[1..]);
        match &self.place {
            Place::Server(url) => parts.query_async(&mut connect(url).await).await.unwrap(),
            Place::Cluster(urls) => {
                let client = redis::cluster::ClusterClient::new(urls.iter().map(String::as_str));
                let mut connection = client.unwrap().get_async_connection().await.unwrap();
                parts.query_async(&mut connection).await.unwrap()
            }
        }
    }
}

async fn connect(url: &str) -> MultiplexedConnection {
    Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

#[async_trait]
impl Harness for Database {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.store().await)
    }

    async fn delete(&self, id: &RecordId) {
        let _: u64 = self.command(&["DEL", &self.key(id)]).await;
    }

    /// Whether another version would let its records expire by themselves is not ours to know.
    async fn set_version(&self, id: &RecordId, version: i16) {
        let key = self.key(id);
        let _: u64 = self.command(&["HSET", &key, "version", &version.to_string()]).await;
        let expires_at: Option<String> = self.command(&["HGET", &key, "expires_at"]).await;
        match expires_at {
            Some(expires_at) if version == RECORD_VERSION => {
                let _: u64 = self.command(&["PEXPIREAT", &key, &expires_at]).await;
            }
            _ => {
                let _: u64 = self.command(&["PERSIST", &key]).await;
            }
        }
    }

    async fn elapse(&self, by: Duration) {
        const BACK: &str = "
            for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
                for _, field in ipairs({'created_at', 'lease_until', 'expires_at'}) do
                    local time = redis.call('HGET', key, field)
                    if time then
                        redis.call('HSET', key, field, string.format('%.0f', time - ARGV[2]))
                    end
                end
                if redis.call('PTTL', key) >= 0 then
                    redis.call('PEXPIREAT', key, redis.call('HGET', key, 'expires_at'))
                end
            end";
        let by = i64::try_from(by.as_millis()).unwrap();
        let _: Vec<()> = self.on_each_master(BACK, by).await;
    }

    async fn records(&self) -> Option<u64> {
        let counted: Vec<u64> = self.on_each_master("return #redis.call('KEYS', ARGV[1])", 0).await;
        Some(counted.into_iter().sum())
    }
}
