//! A record in memory, and its verdict on a claim.

use std::time::Duration;

use crate::{
    error::StoreError,
    fingerprint::Fingerprint,
    record::{AttemptId, Fence, RECORD_VERSION, RecordId, State, StoredResponse},
    store::{After, Claim, Claimed, Recover},
};

/// Times are durations since the store was made.
pub(super) struct Row {
    pub(super) id: RecordId,
    pub(super) version: i16,
    pub(super) fingerprint: Fingerprint,
    pub(super) state: State,
    pub(super) recover: Recover,
    pub(super) attempt: AttemptId,
    pub(super) fence: Fence,
    pub(super) number: u32,
    pub(super) after: After,
    pub(super) created_at: Duration,
    /// Of a held record: when it came to be held.
    pub(super) lease_until: Duration,
    /// `None`: never.
    pub(super) expires_at: Option<Duration>,
    pub(super) response: Option<StoredResponse>,
}

pub(super) enum Verdict {
    Decided(Claimed),
    /// After what, if the record goes on.
    Free(Option<After>),
}

impl Row {
    pub(super) fn expired(&self, now: Duration) -> bool {
        self.version == RECORD_VERSION && self.expires_at.is_some_and(|at| at <= now)
    }

    pub(super) fn state(&self, now: Duration) -> State {
        match self.state {
            State::InFlight if self.recover == Recover::Hold && self.lease_until <= now => {
                State::Held
            }
            state => state,
        }
    }

    pub(super) fn in_flight(&self, now: Duration) -> bool {
        self.version == RECORD_VERSION
            && self.state == State::InFlight
            && self.lease_until > now
            && !self.expired(now)
    }

    /// See the table at [`Store::claim`](crate::Store::claim).
    pub(super) fn judge(&self, claim: &Claim, now: Duration) -> Result<Verdict, StoreError> {
        if self.version != RECORD_VERSION {
            return Err(StoreError::UnknownVersion(self.version));
        }
        if self.attempt == claim.owner.attempt && self.state == State::InFlight {
            let Self { fence, number, after, .. } = *self;
            return Ok(Verdict::Decided(Claimed::Won { fence, number, after }));
        }
        if self.expired(now) {
            return Ok(Verdict::Free(None));
        }
        if self.fingerprint != claim.fingerprint {
            return Ok(Verdict::Decided(Claimed::Mismatch));
        }
        Ok(match self.state(now) {
            State::Completed => match &self.response {
                Some(response) => Verdict::Decided(Claimed::Completed(response.clone())),
                None => return Err(StoreError::Damaged("a completed record has no response")),
            },
            State::Failed if self.attempt == claim.owner.attempt => {
                Verdict::Decided(Claimed::InFlight)
            }
            State::Failed => Verdict::Free(Some(After::Failure)),
            State::Held => Verdict::Decided(Claimed::Held),
            State::InFlight if self.lease_until <= now => Verdict::Free(Some(After::Lapse)),
            State::InFlight => Verdict::Decided(Claimed::InFlight),
        })
    }
}
