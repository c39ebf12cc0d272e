//! How an operation reaches the servers: sent again where that helps, and given up in time.

use std::time::Duration;

use idem_core::StoreError;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value, from_redis_value};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::{
    clock::Clocks,
    cluster::Redirect,
    error::{NotReplicated, is_broken, is_passing, store_error, timed_out},
    keys::Shard,
    lane::Lane,
    link::{Link, Way},
    reply::Reply,
    scripts::{Known, Script},
};

/// An operation: a script, and what it is about.
pub(crate) struct Call<'a> {
    pub(crate) script: &'a Script,
    pub(crate) shard: Shard,
    pub(crate) keys: &'a [String],
    pub(crate) arguments: &'a [&'a [u8]],
}

/// How many replicas must have a write, and within which time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replicas {
    pub(crate) number: u32,
    pub(crate) within: Duration,
}

/// How long to wait until something is sent again.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs operations.
pub(crate) struct Connections {
    lane: Lane,
    clocks: Clocks,
    timeout: Duration,
    /// Who must have what an operation found or did.
    replicas: Option<Replicas>,
}

/// What one try came to.
enum Tried {
    Answered(Reply),
    /// The server does not know the script yet, or has forgotten it.
    UnknownScript,
    /// It came too late, or the server's clock had to be learned.
    Late,
    /// The server did nothing, and says who will.
    Elsewhere(Redirect, RedisError),
    /// The server did nothing, and may be able to a little later.
    Passing(RedisError),
    /// The server did nothing, because it is a replica now. Its name may have another one's address.
    Demoted(RedisError),
    /// The server did nothing, and will not.
    Refused(RedisError),
    /// Nobody knows whether it happened.
    Broken(RedisError),
}

impl Connections {
    /// One connection that all operations share.
    pub(crate) fn shared(link: Link, timeout: Duration, clocks: Clocks) -> Self {
        Self { lane: Lane::Shared(Box::new(link)), clocks, timeout, replicas: None }
    }

    /// Connections on which operations wait for replicas.
    pub(crate) fn waiting(
        links: Vec<Link>,
        timeout: Duration,
        clocks: Clocks,
        replicas: Replicas,
    ) -> Self {
        Self { lane: Lane::exclusive(links), clocks, timeout, replicas: Some(replicas) }
    }

    /// Runs an operation. What got no answer is sent again, so it must be one that may run twice.
    pub(crate) async fn run(&self, call: &Call<'_>) -> Result<Reply, StoreError> {
        const FOLLOWED_AT_ONCE: u32 = 3;
        let give_up = Instant::now() + self.timeout;
        let start_by = give_up - self.replicas.map_or(Duration::ZERO, |it| it.within);
        let Ok(place) = timeout_at(start_by, self.lane.place()).await else {
            return Err(StoreError::unreachable("all connections were waiting for replicas"));
        };
        let link = place.link;
        let mut known = Known::ByDigest;
        let mut redirect: Option<Redirect> = None;
        let mut followed = 0;
        let mut may_have_happened = false;
        loop {
            let finding = timeout_at(give_up, link.way(call.shard, redirect.as_ref())).await;
            redirect = None;
            let error = match finding.unwrap_or_else(|_| Err(timed_out())) {
                Err(error) => error,
                Ok(way) => match self.once(&way, call, known, give_up).await? {
                    Tried::Answered(reply) => return Ok(reply),
                    Tried::UnknownScript => {
                        known = Known::NotYet;
                        continue;
                    }
                    Tried::Late if Instant::now() < give_up => {
                        known = Known::ByDigest;
                        continue;
                    }
                    Tried::Late => timed_out(),
                    Tried::Elsewhere(to, error) => {
                        redirect = Some(to);
                        followed += 1;
                        if followed <= FOLLOWED_AT_ONCE && Instant::now() < give_up {
                            continue;
                        }
                        error
                    }
                    Tried::Passing(error) => error,
                    Tried::Demoted(error) => {
                        way.gave_trouble();
                        error
                    }
                    Tried::Refused(error) if may_have_happened => {
                        return Err(StoreError::unavailable(error));
                    }
                    Tried::Refused(error) => return Err(store_error(error)),
                    Tried::Broken(error) => {
                        may_have_happened = true;
                        way.gave_trouble();
                        error
                    }
                },
            };
            let again = Instant::now() + PAUSE;
            if again >= give_up {
                return Err(if may_have_happened {
                    StoreError::unavailable(error)
                } else {
                    StoreError::unreachable(error)
                });
            }
            tracing::debug!(%error, "Redis did not answer; asking again");
            sleep_until(again).await;
            // Who has what by now is found out once for all who ask.
            let _ = timeout_at(give_up, link.look_around()).await;
        }
    }

    /// Tells something to whoever listens, if that is possible soon.
    pub(crate) async fn tell(&self, shard: Shard, channel: &str, digest: &[u8]) {
        let telling = async {
            let link = self.lane.place().await.link;
            let mut redirect = None;
            loop {
                let Err(error) = tell(link, shard, redirect.as_ref(), channel, digest).await else {
                    return;
                };
                tracing::debug!(%error, "an ending was not told to other processes yet");
                redirect = Redirect::of(&error);
                sleep(PAUSE).await;
                link.look_around().await;
            }
        };
        if timeout(self.timeout, telling).await.is_err() {
            tracing::debug!("an ending was not told to other processes");
        }
    }

    async fn once(
        &self,
        way: &Way,
        call: &Call<'_>,
        known: Known,
        give_up: Instant,
    ) -> Result<Tried, StoreError> {
        // Without a time by which it must begin, it only says the time, and there is nothing to wait for.
        let begin_before = self.clocks.server(call.shard, give_up.into_std());
        let replicas = self.replicas.filter(|_| begin_before.is_some());
        let mut run = call.script.run(known, call.keys);
        run.arg(begin_before.unwrap_or(0)).arg(u8::from(replicas.is_some())).arg(call.arguments);
        let mut commands = vec![run];
        if let Some(Replicas { number, within }) = replicas {
            // On the same connection: it waits for what its connection wrote.
            let mut wait = Cmd::new();
            wait.arg("WAIT").arg(number).arg(within.as_millis().to_string());
            commands.push(wait);
        }
        let sending = async {
            let mut values = way.send(commands).await?.into_iter();
            Ok((values.next().unwrap_or(Value::Nil).extract_error()?, values.next()))
        };
        let until = give_up.min(Instant::now() + patience(self.timeout));
        let (answer, acknowledged) = match timeout_at(until, sending).await {
            Ok(Ok(values)) => values,
            Ok(Err(error)) => return Ok(judge(error)),
            Err(_) => return Ok(Tried::Broken(timed_out())),
        };
        let reply = Reply::parse(answer)?;
        self.clocks.learn(call.shard, reply.server_time);
        if reply.verdict == "late" {
            return Ok(Tried::Late);
        }
        if let Some(Replicas { number, .. }) = replicas
            && reply.needs_replicas()
        {
            let acknowledged = acknowledged.map(from_redis_value).transpose();
            let acknowledged = match acknowledged.map(Option::unwrap_or_default) {
                Ok(acknowledged) => acknowledged,
                Err(error) => return Err(StoreError::unavailable(error)),
            };
            if acknowledged < number {
                let required = number;
                return Err(StoreError::unavailable(NotReplicated { acknowledged, required }));
            }
        }
        Ok(Tried::Answered(reply))
    }
}

async fn tell(
    link: &Link,
    shard: Shard,
    redirect: Option<&Redirect>,
    channel: &str,
    digest: &[u8],
) -> RedisResult<()> {
    let way = link.way(shard, redirect).await?;
    let mut publish = Cmd::new();
    publish.arg("SPUBLISH").arg(channel).arg(digest);
    let told = way.send(vec![publish]).await;
    if told.as_ref().is_err_and(is_broken) {
        way.gave_trouble();
    }
    told?.into_iter().try_for_each(|it| it.extract_error().map(drop))
}

fn judge(error: RedisError) -> Tried {
    if error.code() == Some("NOSCRIPT") {
        Tried::UnknownScript
    } else if let Some(redirect) = Redirect::of(&error) {
        Tried::Elsewhere(redirect, error)
    } else if error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly) {
        Tried::Demoted(error)
    } else if is_passing(&error) {
        Tried::Passing(error)
    } else if is_broken(&error) {
        Tried::Broken(error)
    } else {
        Tried::Refused(error)
    }
}

/// How long one try may take: then there is time for another one, on another connection.
pub(crate) fn patience(timeout: Duration) -> Duration {
    timeout / 2
}
