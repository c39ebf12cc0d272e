//! A record as it is stored, and its verdict on a claim.

use std::time::Duration;

use idem_core::{After, Claim, Claimed, Fence, Judged, Recover, StoredResponse};
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970, by the clock of the host.
pub(crate) type Time = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    InFlight,
    Completed,
    Failed,
    Held,
}

/// What the last claim followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Before {
    Nothing,
    Failure,
    Lapse,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    // For people to read, and to list held records.
    pub(crate) operation: String,
    pub(crate) scope: String,
    pub(crate) key: String,
    pub(crate) fingerprint: [u8; 32],
    pub(crate) stage: Stage,
    /// A lapsed lease means held, not free.
    pub(crate) hold: bool,
    pub(crate) attempt: [u8; 16],
    pub(crate) fence: i64,
    pub(crate) number: u32,
    pub(crate) before: Before,
    pub(crate) created_at: Time,
    /// Of a held record: when it came to be held.
    pub(crate) lease_until: Time,
    /// `None`: never, because somebody must decide.
    pub(crate) expires_at: Option<Time>,
}

/// What a record says about a claim.
pub(crate) enum Verdict {
    Decided(Claimed),
    /// It may be won, and this came before.
    Free(Before),
    /// It is replayed.
    Replay,
}

impl Row {
    /// The table at [`Store::claim`](idem_core::Store::claim), line by line.
    pub(crate) fn judge(&self, claim: &Claim, now: Time) -> Verdict {
        let is_own = self.attempt == *claim.owner.attempt.as_uuid().as_bytes();
        match self.stage {
            Stage::InFlight if is_own => Verdict::Decided(self.won()),
            _ if self.has_expired(now) => Verdict::Free(Before::Nothing),
            _ if self.fingerprint != *claim.fingerprint.as_bytes() => {
                Verdict::Decided(Claimed::Mismatch)
            }
            Stage::Completed => Verdict::Replay,
            Stage::Failed if is_own => Verdict::Decided(Claimed::InFlight),
            Stage::Failed => Verdict::Free(Before::Failure),
            _ if self.is_held(now) => Verdict::Decided(Claimed::Held),
            _ if self.lease_until <= now => Verdict::Free(Before::Lapse),
            _ => Verdict::Decided(Claimed::InFlight),
        }
    }

    /// What the owner of a claim is told, also when it is sent again.
    pub(crate) fn won(&self) -> Claimed {
        Claimed::Won {
            fence: Fence::new(self.fence),
            number: self.number,
            after: match self.before {
                Before::Nothing => After::Nothing,
                Before::Failure => After::Failure,
                Before::Lapse => After::Lapse,
            },
        }
    }

    /// The row of a claim that is won, over the row that was there.
    pub(crate) fn claimed(
        claim: &Claim,
        over: Option<&Self>,
        before: Before,
        fence: i64,
        now: Time,
    ) -> Self {
        let goes_on = over.filter(|_| before != Before::Nothing);
        let hold = claim.recover == Recover::Hold;
        let id = &claim.owner.id;
        Self {
            operation: id.operation().to_owned(),
            scope: id.scope().to_owned(),
            key: id.key().to_owned(),
            fingerprint: *claim.fingerprint.as_bytes(),
            stage: Stage::InFlight,
            hold,
            attempt: *claim.owner.attempt.as_uuid().as_bytes(),
            fence,
            number: goes_on.map_or(1, |row| row.number.saturating_add(1)),
            before,
            created_at: goes_on.map_or(now, |row| row.created_at),
            lease_until: after(now, claim.lease),
            expires_at: (!hold).then(|| after(now, claim.ttl.max(claim.lease))),
        }
    }

    pub(crate) fn has_expired(&self, now: Time) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    pub(crate) fn is_held(&self, now: Time) -> bool {
        let has_lapsed = self.stage == Stage::InFlight && self.hold && self.lease_until <= now;
        self.stage == Stage::Held || has_lapsed
    }

    pub(crate) fn is_in_flight(&self, now: Time) -> bool {
        self.stage == Stage::InFlight && self.lease_until > now
    }

    pub(crate) fn judged(&self, claimed: Claimed, now: Time) -> Judged {
        Judged::new(claimed, Some(between(self.created_at, now)))
    }

    /// The verdict on a completed record. Whoever keeps a copy of the answer learns for how long it is
    /// true.
    pub(crate) fn replayed(&self, response: StoredResponse, now: Time) -> Judged {
        // The clock may be nearly a millisecond further.
        let expires_in = self.expires_at.map(|at| between(now + 1, at));
        Judged { expires_in, ..self.judged(Claimed::Completed(response), now) }
    }
}

/// Rounded up, so that nothing ends early.
pub(crate) fn after(now: Time, time: Duration) -> Time {
    let milliseconds = time.saturating_add(Duration::from_nanos(999_999)).as_millis();
    now.saturating_add(Time::try_from(milliseconds).unwrap_or(Time::MAX))
}

/// A clock that was set back makes nothing younger than new.
pub(crate) fn between(earlier: Time, later: Time) -> Duration {
    Duration::from_millis(later.saturating_sub(earlier))
}
