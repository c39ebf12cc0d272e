//! Word from process to process that executions have ended, by sharded channels.

use std::{
    io::{self, ErrorKind},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use idem_core::{Announced, Announcements, Announcer};
use redis::{Cmd, PushInfo, PushKind, RedisError, RedisResult, Value};
use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    error::timed_out,
    keys::Shard,
    link::{Address, Link},
    node::Dial,
};

/// How often each server is asked whether it is still there.
const QUIET: Duration = Duration::from_secs(5);

/// The pauses before a lost subscription is replaced.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Hears what ends, for as long as somebody in this process wants to know: on connections of its
/// own, in a task of its own.
pub(crate) struct Listener {
    subscriber: Arc<Subscriber>,
    runtime: Handle,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Listener {
    /// Nothing happens before somebody asks for [announcements](Self::announcements).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn new(
        address: Address,
        patience: Duration,
        channels: Vec<(Shard, String)>,
    ) -> Self {
        let announcer = Announcer::new();
        let subscriber = Arc::new(Subscriber { address, patience, channels, announcer });
        Self { subscriber, runtime: Handle::current(), task: Mutex::new(None) }
    }

    pub(crate) fn announcements(&self) -> Announcements {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let announcements = self.subscriber.announcer.announcements();
        // The one before may be ending, or have ended.
        if self.subscriber.announcer.listeners() == 1 {
            let subscriber = Arc::clone(&self.subscriber);
            let new = self.runtime.spawn(async move { subscriber.serve().await });
            if let Some(old) = task.replace(new) {
                old.abort();
            }
        }
        announcements
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

struct Subscriber {
    address: Address,
    /// How long the servers may take to connect, and for each answer.
    patience: Duration,
    channels: Vec<(Shard, String)>,
    announcer: Announcer,
}

impl Subscriber {
    async fn serve(&self) {
        tokio::select! {
            () = self.keep() => {}
            () = self.announcer.deserted() => {}
        }
    }

    /// Uses one subscription after the other.
    async fn keep(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let error = self.listen().await;
            if began.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            if pause == FIRST_PAUSE {
                tracing::warn!(%error, "endings in other processes are not heard of for now");
            } else {
                tracing::debug!(%error, "endings in other processes are still not heard of");
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Subscribes, and listens until something is wrong with any of it: then it is replaced as a
    /// whole.
    async fn listen(&self) -> RedisError {
        let (link, pushes) = match self.in_time(self.subscription()).await {
            Ok(subscription) => subscription,
            Err(error) => return error,
        };
        // Whatever ended before.
        self.announcer.announce(Announced::Lost);
        tokio::select! {
            error = self.hear(pushes) => error,
            error = self.watch(link) => error,
        }
    }

    async fn subscription(&self) -> RedisResult<(Link, UnboundedReceiver<PushInfo>)> {
        let (sender, pushes) = unbounded_channel();
        let dial = Dial::hearing(self.patience, sender);
        let link = Link::open(self.address.clone(), dial).await?;
        link.subscribe(&self.channels).await?;
        Ok((link, pushes))
    }

    /// Announces what is told, until the subscription is lost.
    async fn hear(&self, mut pushes: UnboundedReceiver<PushInfo>) -> RedisError {
        while let Some(push) = pushes.recv().await {
            match push.kind {
                PushKind::SMessage => {
                    if let Some(digest) = digest(&push) {
                        self.announcer.announce(Announced::Ended(digest));
                    }
                }
                // Of the whole connection, or of a slot that moved to another server.
                PushKind::Disconnection | PushKind::SUnsubscribe => break,
                _ => {}
            }
        }
        io::Error::from(ErrorKind::ConnectionAborted).into()
    }

    /// Returns when a server does not answer any more.
    async fn watch(&self, link: Link) -> RedisError {
        let mut ping = Cmd::new();
        ping.arg("PING");
        loop {
            sleep(QUIET).await;
            if let Err(error) = self.in_time(link.ask_masters(&ping)).await {
                return error;
            }
        }
    }

    async fn in_time<T>(&self, what: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
        timeout(self.patience, what).await.unwrap_or_else(|_| Err(timed_out()))
    }
}

/// What a message tells; `None` of one that is not ours.
fn digest(push: &PushInfo) -> Option<[u8; 32]> {
    match push.data.as_slice() {
        [_, Value::BulkString(digest)] => digest.as_slice().try_into().ok(),
        _ => None,
    }
}
