//! Sweeping: a bounded share of the store's time, in batches that are short.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    engine::{Engine, warn_of},
    observe::{self, Call},
};

/// How large batches are: as large as they can be and still be short, because whoever claims may have
/// to wait for the database to be done with one.
const FEWEST: u32 = 10;
const FIRST: u32 = 100;
const MOST: u32 = 1_000;

/// What takes longer is halved, and what takes less than half of it is doubled.
const LONGEST: Duration = Duration::from_millis(50);

/// After each batch, so many times as long as it took nothing is swept.
const REST: u32 = 4;

/// How a round ended.
enum Round {
    /// All that had expired is gone, or the store failed.
    Over,
    /// The next round is due, and there is more.
    Unfinished,
    /// The engine is drained.
    Stopped,
}

impl Engine {
    /// Begins a round `every` so often, until the engine is drained.
    pub(crate) async fn sweep(self: Arc<Self>, every: Duration) {
        let mut batch = FIRST;
        loop {
            if self.draining.run_until_cancelled(sleep(every)).await.is_none() {
                return;
            }
            loop {
                match self.sweep_round(every, &mut batch).await {
                    Round::Over => break,
                    Round::Unfinished => {}
                    Round::Stopped => return,
                }
            }
        }
    }

    async fn sweep_round(&self, every: Duration, batch: &mut u32) -> Round {
        let next_round = Instant::now() + every;
        let mut swept = 0;
        loop {
            let limit = *batch;
            let begun = Instant::now();
            let deleted = self.store.within(Call::Sweep, self.store.store.sweep(limit)).await;
            let took = begun.elapsed();
            *batch = next_batch(limit, took);
            match deleted {
                Ok(deleted) => {
                    observe::swept(deleted);
                    swept += deleted;
                    if deleted < u64::from(limit) {
                        tracing::debug!(swept, "expired records were swept");
                        return Round::Over;
                    }
                }
                Err(error) => {
                    warn_of(&error, "expired records could not be swept");
                    return Round::Over;
                }
            }
            if self.draining.run_until_cancelled(sleep(took * REST)).await.is_none() {
                return Round::Stopped;
            }
            if Instant::now() >= next_round {
                tracing::info!(swept, "expired records were swept, and there are more");
                return Round::Unfinished;
            }
        }
    }
}

fn next_batch(batch: u32, took: Duration) -> u32 {
    if took > LONGEST {
        (batch / 2).max(FEWEST)
    } else if took < LONGEST / 2 {
        (batch * 2).min(MOST)
    } else {
        batch
    }
}
