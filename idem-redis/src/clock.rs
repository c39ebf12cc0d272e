//! What the servers' clocks say.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use crate::keys::{SHARDS, Shard};

const UNKNOWN: i64 = i64::MIN;

/// What each shard's server said about its time, so that a script can be told until when it may begin.
///
/// The estimate is never ahead of the server's clock, as long as that is not set back. A script that is
/// refused because the estimate is behind says the time.
#[derive(Clone, Debug)]
pub(crate) struct Clocks {
    start: Instant,
    /// The server's milliseconds at `start`.
    at_start: Arc<[AtomicI64; SHARDS]>,
}

impl Clocks {
    pub(crate) fn new() -> Self {
        let at_start = Arc::new(std::array::from_fn(|_| AtomicI64::new(UNKNOWN)));
        Self { start: Instant::now(), at_start }
    }

    /// Takes note of an answer that has just come.
    pub(crate) fn learn(&self, shard: Shard, server: i64) {
        // Ours is rounded down.
        let at_start = server - self.ours(Instant::now()) - 1;
        self.at_start[shard.number()].store(at_start, Ordering::Relaxed);
    }

    /// The server's time at a time of ours, in milliseconds; `None` before the first answer.
    pub(crate) fn server(&self, shard: Shard, ours: Instant) -> Option<i64> {
        match self.at_start[shard.number()].load(Ordering::Relaxed) {
            UNKNOWN => None,
            at_start => Some(at_start + self.ours(ours)),
        }
    }

    fn ours(&self, time: Instant) -> i64 {
        i64::try_from(time.duration_since(self.start).as_millis()).unwrap_or(i64::MAX / 2)
    }
}
