//! A cache that does not work is not asked for a while.

use std::{error::Error, mem, sync::Mutex, time::Duration};

use tokio::time::Instant;

use crate::{observe, sync::lock};

/// How many failures in a row it takes: a single one of a cache that has worked may be chance.
const FAILURES: u32 = 3;

/// How long a cache that does not work is left alone before it is probed again.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    /// Nobody has asked yet.
    #[default]
    Untried,
    Up {
        /// In a row.
        failures: u32,
    },
    Down {
        probe_at: Instant,
    },
}

/// Whether a cache is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Yes,
    No,
    /// No, but it is time to find out whether it works again.
    Probe,
}

impl Breaker {
    pub(super) fn ask(&self) -> Ask {
        match &mut *lock(&self.0) {
            State::Untried | State::Up { .. } => Ask::Yes,
            State::Down { probe_at } if Instant::now() >= *probe_at => {
                // Nobody else probes meanwhile. Who does may be cut off.
                *probe_at = Instant::now() + PAUSE * 3;
                Ask::Probe
            }
            State::Down { .. } => Ask::No,
        }
    }

    /// The cache has answered a request. One that was asked before it was given up proves nothing.
    pub(super) fn answered(&self) {
        let mut state = lock(&self.0);
        if !matches!(*state, State::Down { .. }) {
            state.becomes(State::Up { failures: 0 });
        }
    }

    /// The cache works, as somebody who wanted to know has found out.
    pub(super) fn works(&self) {
        let was = lock(&self.0).becomes(State::Up { failures: 0 });
        if matches!(was, State::Down { .. }) {
            tracing::info!("the cache works again");
        }
    }

    pub(super) fn failed(&self, error: &(dyn Error + 'static)) {
        let mut state = lock(&self.0);
        let failures = match *state {
            State::Untried => FAILURES,
            State::Up { failures } => failures + 1,
            State::Down { ref mut probe_at } => {
                *probe_at = Instant::now() + PAUSE;
                return;
            }
        };
        if failures < FAILURES {
            state.becomes(State::Up { failures });
            return;
        }
        state.becomes(State::Down { probe_at: Instant::now() + PAUSE });
        drop(state);
        tracing::warn!(error, "the cache does not work: everything is read from the store");
    }
}

impl State {
    /// Counts caches that do not work, and returns what it was.
    fn becomes(&mut self, next: Self) -> Self {
        match (&*self, &next) {
            (Self::Down { .. }, Self::Down { .. }) | (Self::Up { .. }, Self::Up { .. }) => {}
            (_, Self::Down { .. }) => observe::caches_down(1),
            (Self::Down { .. }, _) => observe::caches_down(-1),
            // So that it is there to be seen.
            _ => observe::caches_down(0),
        }
        mem::replace(self, next)
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        lock(&self.0).becomes(State::Untried);
    }
}
