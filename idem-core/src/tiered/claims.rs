//! What is known of records that this process has claimed, to be kept with their answers.

use std::{collections::HashMap, mem, sync::Mutex, time::Duration};

use tokio::time::Instant;

use crate::{fingerprint::Fingerprint, record::AttemptId, sync::lock};

/// How many claims are remembered at least. Whoever is forgotten is not cached when it completes: its
/// first replay comes from the store.
const REMEMBERED: usize = 16 * 1024;

/// A claim that was won.
#[derive(Clone, Copy, Debug)]
pub(super) struct Won {
    pub(super) fingerprint: Fingerprint,
    /// The record's, when it was claimed.
    age: Duration,
    claimed_at: Instant,
}

impl Won {
    pub(super) fn now(fingerprint: Fingerprint, age: Duration) -> Self {
        Self { fingerprint, age, claimed_at: Instant::now() }
    }

    pub(super) fn age_at(&self, time: Instant) -> Duration {
        self.age + time.saturating_duration_since(self.claimed_at)
    }
}

/// Two generations: those that nobody ends, because they were taken over or given up, go with the older
/// one.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<[HashMap<AttemptId, Won>; 2]>);

impl Claims {
    pub(super) fn remember(&self, attempt: AttemptId, won: Won) {
        let [young, old] = &mut *lock(&self.0);
        if young.len() >= REMEMBERED {
            *old = mem::take(young);
        }
        young.insert(attempt, won);
    }

    /// Each claim is taken once: what an ending that is written again finds in the store may be older
    /// than what it brings.
    pub(super) fn take(&self, attempt: AttemptId) -> Option<Won> {
        let [young, old] = &mut *lock(&self.0);
        young.remove(&attempt).or_else(|| old.remove(&attempt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::fingerprint;

    #[test]
    fn claims_that_nobody_ends_are_forgotten_in_the_end() {
        let claims = Claims::default();
        let attempts: Vec<_> = (0..3 * REMEMBERED).map(|_| AttemptId::draw()).collect();
        for attempt in &attempts {
            claims.remember(*attempt, Won::now(fingerprint("a"), Duration::ZERO));
        }
        let is_known = |attempt: &AttemptId| claims.take(*attempt).is_some();
        assert!(!attempts[..REMEMBERED].iter().any(is_known));
        assert!(attempts[2 * REMEMBERED..].iter().all(is_known));
        assert!(!attempts[2 * REMEMBERED..].iter().any(is_known), "each is taken once");
    }
}
