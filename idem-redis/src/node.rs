//! Connections that are made again when they break.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ProtocolVersion, RedisResult, Value,
    aio::{AsyncPushSender, MultiplexedConnection},
};
use tokio::{sync::Mutex as AsyncMutex, time::timeout};

use crate::error::{is_broken, timed_out};

/// How to connect.
#[derive(Clone)]
pub(crate) struct Dial {
    config: AsyncConnectionConfig,
    protocol: Option<ProtocolVersion>,
    /// How long connecting may take, and each answer.
    pub(crate) patience: Duration,
}

impl Dial {
    /// Nothing is said but answers.
    pub(crate) fn new(patience: Duration) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(patience))
            .set_response_timeout(Some(patience));
        Self { config, protocol: None, patience }
    }

    /// What servers say besides answers, and that a connection was lost, goes here.
    pub(crate) fn hearing(patience: Duration, sender: impl AsyncPushSender) -> Self {
        let Self { config, .. } = Self::new(patience);
        let protocol = Some(ProtocolVersion::RESP3);
        Self { config: config.set_push_sender(sender), protocol, patience }
    }
}

/// A server, and the connection to it.
pub(crate) struct Node {
    client: Client,
    dial: Dial,
    current: Mutex<Option<Numbered>>,
    /// How many connections were made.
    connecting: AsyncMutex<u64>,
}

/// Which of a node's connections it is.
#[derive(Clone)]
pub(crate) struct Numbered {
    pub(crate) connection: MultiplexedConnection,
    number: u64,
}

impl Node {
    pub(crate) fn new(server: ConnectionInfo, dial: Dial) -> RedisResult<Self> {
        let server = match dial.protocol {
            Some(protocol) => {
                let settings = server.redis_settings().clone().set_protocol(protocol);
                server.set_redis_settings(settings)
            }
            None => server,
        };
        let client = Client::open(server)?;
        Ok(Self { client, dial, current: Mutex::default(), connecting: AsyncMutex::new(0) })
    }

    /// The connection, which is made if there is none.
    pub(crate) async fn connection(&self) -> RedisResult<Numbered> {
        let current = || lock(&self.current).clone();
        if let Some(current) = current() {
            return Ok(current);
        }
        let mut made = self.connecting.lock().await;
        if let Some(current) = current() {
            return Ok(current);
        }
        let connecting =
            self.client.get_multiplexed_async_connection_with_config(&self.dial.config);
        let connected = timeout(self.dial.patience, connecting).await;
        let connection = connected.unwrap_or_else(|_| Err(timed_out()))?;
        *made += 1;
        let new = Numbered { connection, number: *made };
        *lock(&self.current) = Some(new.clone());
        Ok(new)
    }

    /// Sends a command that is for no key.
    pub(crate) async fn ask(&self, command: &Cmd) -> RedisResult<Value> {
        let numbered = self.connection().await?;
        let answer = numbered.connection.clone().send_packed_command(command).await;
        let answer = answer.and_then(Value::extract_error);
        if answer.as_ref().is_err_and(is_broken) {
            self.gave_trouble(&numbered);
        }
        answer
    }

    /// Has whoever comes next connect anew.
    pub(crate) fn hang_up(&self) {
        *lock(&self.current) = None;
    }

    /// Takes a connection out of use.
    pub(crate) fn gave_trouble(&self, trouble: &Numbered) {
        let mut current = lock(&self.current);
        if current.as_ref().is_some_and(|it| it.number == trouble.number) {
            *current = None;
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
