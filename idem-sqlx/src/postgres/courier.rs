//! Word from process to process that executions have ended, by `LISTEN` and `NOTIFY`.

use std::{
    fmt::Write,
    io::{self, ErrorKind},
    time::Duration,
};

use idem_core::{Announced, Announcements, Announcer, RecordId};
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::names::Names;

/// How many endings wait at most to be told; what is too much is not told.
const QUEUE: usize = 4096;

/// How far apart statements are. One that notifies locks out all others on the server until it has
/// committed, so there are at most a hundred in a second.
const PACE: Duration = Duration::from_millis(10);

/// How long nothing is said before we make sure that the server still hears us.
const QUIET: Duration = Duration::from_secs(30);

/// The pauses before a lost connection is replaced.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A digest in hexadecimal digits.
const WIDTH: usize = 64;

/// How many digests a payload holds, which has to be shorter than 8,000 bytes.
const PER_PAYLOAD: usize = 7_999 / WIDTH;

const NOTIFY: &str = "SELECT pg_notify($1, payload) FROM unnest($2) AS payload";

type RecordDigest = [u8; 32];

/// Tells other processes what has ended in this one, and hears what has in them. It is for neither
/// waited; what it does happens in a task of its own, on a connection of its own.
#[derive(Clone)]
pub(super) struct Courier {
    outgoing: Sender<RecordDigest>,
    announcer: Announcer,
}

impl Courier {
    /// Sets out. The task ends when the store is gone.
    pub(super) fn start(options: PgConnectOptions, patience: Duration, names: &Names) -> Self {
        let (outgoing, endings) = channel(QUEUE);
        let announcer = Announcer::new();
        let channel = channel_of(names);
        let line = Line { options, patience, channel, announcer: announcer.clone() };
        tokio::spawn(line.keep(endings));
        Self { outgoing, announcer }
    }

    pub(super) fn announce(&self, id: &RecordId) {
        // What finds no place is found by those who poll.
        let _ = self.outgoing.try_send(*id.digest());
    }

    pub(super) fn announcements(&self) -> Announcements {
        self.announcer.announcements()
    }
}

/// Each table has a channel of its own. Names of channels are shorter than those of tables can be.
fn channel_of(names: &Names) -> String {
    format!("idem_{}", &hexadecimal(&Sha256::digest(names.quoted("")))[..32])
}

/// The way to the server and back.
struct Line {
    options: PgConnectOptions,
    /// How long the server may take to connect, and for a statement.
    patience: Duration,
    channel: String,
    announcer: Announcer,
}

impl Line {
    /// Uses one connection after the other, for as long as there is a store.
    async fn keep(self, mut endings: Receiver<RecordDigest>) {
        let mut untold = Vec::new();
        let mut pause = FIRST_PAUSE;
        while !endings.is_closed() {
            let began = Instant::now();
            let Err(error) = self.use_connection(&mut endings, &mut untold).await else { return };
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

    /// Listens and tells until the connection is lost, which is an error, or the store is gone. What
    /// is `untold` then is for the next connection.
    async fn use_connection(
        &self,
        endings: &mut Receiver<RecordDigest>,
        untold: &mut Vec<RecordDigest>,
    ) -> sqlx::Result<()> {
        let mut listener = self.in_time(self.listener()).await?;
        // Whatever ended before.
        self.announcer.announce(Announced::Lost);
        let mut not_before = Instant::now();
        loop {
            tokio::select! {
                heard = listener.try_recv() => match heard? {
                    Some(heard) => self.hear(heard.payload()),
                    None => return Err(io::Error::from(ErrorKind::ConnectionAborted).into()),
                },
                still_there = collect(endings, untold, not_before) => {
                    if !still_there && untold.is_empty() {
                        return Ok(());
                    }
                    let payloads: Vec<_> = untold.chunks(PER_PAYLOAD).map(payload).collect();
                    let notify = sqlx::query(NOTIFY).bind(&self.channel).bind(payloads);
                    self.in_time(notify.execute(&mut listener)).await?;
                    untold.clear();
                    not_before = Instant::now() + PACE;
                }
            }
        }
    }

    /// On a pool of its own, of which nothing else can use up the connection.
    async fn listener(&self) -> sqlx::Result<PgListener> {
        let pool = PgPoolOptions::new().max_connections(1).test_before_acquire(false);
        let pool = pool.connect_lazy_with(self.options.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        // It would do so without a pause.
        listener.eager_reconnect(false);
        listener.listen(&self.channel).await?;
        Ok(listener)
    }

    fn hear(&self, payload: &str) {
        for digest in payload.as_bytes().chunks_exact(WIDTH).filter_map(digest) {
            self.announcer.announce(Announced::Ended(digest));
        }
    }

    async fn in_time<T>(&self, what: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        let too_late = Err(io::Error::from(ErrorKind::TimedOut).into());
        timeout(self.patience, what).await.unwrap_or(too_late)
    }
}

/// Waits until there is something to tell, or nothing to tell for so long that the connection is to
/// be tried; says whether there may be more.
async fn collect(
    endings: &mut Receiver<RecordDigest>,
    untold: &mut Vec<RecordDigest>,
    not_before: Instant,
) -> bool {
    sleep_until(not_before).await;
    !untold.is_empty() || timeout(QUIET, endings.recv_many(untold, QUEUE)).await != Ok(0)
}

fn payload(digests: &[RecordDigest]) -> String {
    digests.iter().map(|it| hexadecimal(it)).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn digest(text: &[u8]) -> Option<RecordDigest> {
    let mut digest = [0; 32];
    for (byte, digits) in digest.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(table: &str) -> Names {
        Names::new(Some("public".to_owned()), table.to_owned()).unwrap()
    }

    #[test]
    fn a_full_payload_is_short_enough_and_comes_back_as_it_was() {
        let digests: Vec<RecordDigest> =
            (0..PER_PAYLOAD).map(|it| [u8::try_from(it).unwrap(); 32]).collect();
        let payload = payload(&digests);
        assert!((7_900..8_000).contains(&payload.len()), "{}", payload.len());
        let back: Vec<_> = payload.as_bytes().chunks(WIDTH).filter_map(digest).collect();
        assert_eq!(back, digests);
    }

    #[test]
    fn what_somebody_else_says_on_our_channel_is_no_digest() {
        for text in ["x".repeat(WIDTH), "ä".repeat(WIDTH / 2)] {
            assert_eq!(digest(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn each_table_has_a_channel_with_a_name_that_postgres_does_not_cut() {
        let (one, other) = (channel_of(&names("idem")), channel_of(&names("other")));
        assert_ne!(one, other);
        assert!(one.len() < 64);
    }
}
