//! How an operation reaches the servers: sent again where that helps, and given up in time.

use std::time::Duration;

use futures_util::future::try_join_all;
use idem_core::StoreError;
use redis::{
    ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value, from_redis_value,
};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::{
    clock::Clocks,
    error::{NotReplicated, is_broken, is_passing, store_error, timed_out},
    keys::Shard,
    lane::Lane,
    link::{Link, Numbered, Server},
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
    pub(crate) async fn waiting(
        server: &Server,
        timeout: Duration,
        clocks: Clocks,
        replicas: Replicas,
        number: u32,
    ) -> RedisResult<Self> {
        let links = (0..number).map(|_| Link::open(server.clone(), patience(timeout)));
        let lane = Lane::exclusive(try_join_all(links).await?);
        Ok(Self { lane, clocks, timeout, replicas: Some(replicas) })
    }

    /// Runs an operation. What got no answer is sent again, so it must be one that may run twice.
    pub(crate) async fn run(&self, call: &Call<'_>) -> Result<Reply, StoreError> {
        const PAUSE: Duration = Duration::from_millis(50);
        let give_up = Instant::now() + self.timeout;
        let start_by = give_up - self.replicas.map_or(Duration::ZERO, |it| it.within);
        let Ok(place) = timeout_at(start_by, self.lane.place()).await else {
            return Err(StoreError::unreachable("all connections were waiting for replicas"));
        };
        let mut known = Known::ByDigest;
        let mut trouble: Option<Numbered> = None;
        let mut may_have_happened = false;
        loop {
            let connecting = timeout_at(give_up, place.link.connection(trouble.as_ref())).await;
            let error = match connecting.unwrap_or_else(|_| Err(timed_out())) {
                Err(error) => error,
                Ok(connection) => match self.once(&connection, call, known, give_up).await? {
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
                    Tried::Passing(error) => error,
                    Tried::Demoted(error) => {
                        place.link.gave_trouble(&connection);
                        trouble = Some(connection);
                        error
                    }
                    Tried::Refused(error) if may_have_happened => {
                        return Err(StoreError::unavailable(error));
                    }
                    Tried::Refused(error) => return Err(store_error(error)),
                    Tried::Broken(error) => {
                        may_have_happened = true;
                        place.link.gave_trouble(&connection);
                        trouble = Some(connection);
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
        }
    }

    /// Tells something to whoever listens, if that is possible now.
    pub(crate) async fn tell(&self, channel: &str, digest: &[u8]) {
        let telling = async {
            let place = self.lane.place().await;
            let mut connection = place.link.connection(None).await?.connection;
            let mut commands = Pipeline::with_capacity(1);
            commands.cmd("SPUBLISH").arg(channel).arg(digest);
            let answers = connection.send(commands, channel).await?;
            answers.into_iter().try_for_each(|it| it.extract_error().map(drop))
        };
        let told = timeout(patience(self.timeout), telling).await;
        if let Err(error) = told.unwrap_or_else(|_| Err(timed_out())) {
            tracing::debug!(%error, "an ending was not told to other processes");
        }
    }

    async fn once(
        &self,
        connection: &Numbered,
        call: &Call<'_>,
        known: Known,
        give_up: Instant,
    ) -> Result<Tried, StoreError> {
        // Without a time by which it must begin, it only says the time, and there is nothing to wait for.
        let begin_before = self.clocks.server(call.shard, give_up.into_std());
        let replicas = self.replicas.filter(|_| begin_before.is_some());
        let mut commands = Pipeline::with_capacity(2);
        let mut run = call.script.run(known, call.keys);
        run.arg(begin_before.unwrap_or(0)).arg(u8::from(replicas.is_some())).arg(call.arguments);
        commands.add_command(run);
        if let Some(Replicas { number, within }) = replicas {
            // On the same connection: it waits for what its connection wrote.
            commands.cmd("WAIT").arg(number).arg(within.as_millis().to_string());
        }
        let sending = async {
            let values = connection.connection.clone().send(commands, &call.keys[0]).await?;
            let mut values = values.into_iter();
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

fn judge(error: RedisError) -> Tried {
    if error.code() == Some("NOSCRIPT") {
        Tried::UnknownScript
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
