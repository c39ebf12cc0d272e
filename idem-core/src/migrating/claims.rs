//! Claims: of the old store, then of the new one.

use super::Migrating;
use crate::{
    error::StoreError,
    record::{AttemptId, Owner, State},
    store::{After, Claim, Claimed, Judged, Resolution, Written},
};

impl Migrating {
    pub(super) async fn claim_both(&self, claim: &Claim) -> Result<Judged, StoreError> {
        // What was repaired once is no longer held, unless somebody holds it anew.
        const TRIES: u32 = 3;
        for _ in 0..TRIES {
            let old = self.old.claim(claim).await?;
            match old.claimed {
                Claimed::Won { .. } => return self.claim_new(claim, old).await,
                Claimed::Held if self.repair(claim).await? => {}
                _ => return Ok(old),
            }
        }
        Err(StoreError::Contended(TRIES))
    }

    /// The claim was won in the old store. Unless it is in the new one, too, it is taken back there.
    async fn claim_new(&self, claim: &Claim, mut old: Judged) -> Result<Judged, StoreError> {
        let mut new = match self.new.claim(claim).await {
            Ok(judged) => judged,
            Err(error) => {
                let released = self.old.release(&claim.owner).await;
                return Err(if released.is_ok() { error } else { uncertain(error) });
            }
        };
        match &new.claimed {
            Claimed::Won { .. } => {
                old.age = old.age.max(new.age);
                old.claimed = both(&old.claimed, &new.claimed);
                Ok(old)
            }
            // Its owner never came to record it in the old store, or it has expired there. Nobody
            // is told before those who see only the old store would be.
            Claimed::Completed(response) => {
                let ttl = new.expires_in.unwrap_or(claim.ttl);
                let written = self.old.complete(&claim.owner, response, ttl).await;
                if written.map_err(uncertain)? == Written::Stale {
                    new.claimed = Claimed::InFlight;
                }
                Ok(new)
            }
            Claimed::Mismatch | Claimed::InFlight | Claimed::Held => {
                let _ = self.old.release(&claim.owner).await.map_err(uncertain)?;
                Ok(new)
            }
        }
    }

    /// Ends what the old store holds as the new one says that it has ended: its owner, or whoever
    /// decided about it, never came to do so. Says whether the record is another one now.
    async fn repair(&self, claim: &Claim) -> Result<bool, StoreError> {
        let id = &claim.owner.id;
        let (Some(old), Some(new)) = tokio::try_join!(self.old.get(id), self.new.get(id))? else {
            return Ok(false);
        };
        let owner = Owner { id: id.clone(), attempt: old.attempt };
        let ended_by_owner = new.attempt == old.attempt;
        let ttl = claim.ttl;
        let written = match (new.state, new.response) {
            (State::Completed, Some(response)) if ended_by_owner => {
                self.old.complete(&owner, &response, ttl).await?
            }
            (State::Failed, _) if ended_by_owner => self.old.fail(&owner, ttl).await?,
            (State::Completed, Some(response)) => {
                let resolution = Resolution::Completed { response, ttl };
                self.decide_as(&owner, &resolution, new.attempt).await?
            }
            (State::Failed, _) => {
                let resolution = Resolution::Failed { ttl };
                self.decide_as(&owner, &resolution, new.attempt).await?
            }
            _ => Written::Stale,
        };
        Ok(written == Written::Accepted)
    }

    /// Decides in the old store, if it was this decision that gave the record in the new one its
    /// attempt.
    async fn decide_as(
        &self,
        owner: &Owner,
        resolution: &Resolution,
        attempt: AttemptId,
    ) -> Result<Written, StoreError> {
        if resolution.attempt_after(owner.attempt) == attempt {
            self.old.resolve(owner, resolution).await
        } else {
            Ok(Written::Stale)
        }
    }
}

/// What is known of an execution whose claim was won twice.
fn both(old: &Claimed, new: &Claimed) -> Claimed {
    match (old, new) {
        (
            Claimed::Won { fence, number, after },
            Claimed::Won { fence: other_fence, number: other_number, after: other_after },
        ) => Claimed::Won {
            fence: *fence.max(other_fence),
            number: *number.max(other_number),
            after: match (after, other_after) {
                (After::Lapse, _) | (_, After::Lapse) => After::Lapse,
                (After::Failure, _) | (_, After::Failure) => After::Failure,
                (After::Nothing, After::Nothing) => After::Nothing,
            },
        },
        (_, refused) => refused.clone(),
    }
}

/// The claim stands in the old store, whatever the error says of the operation that failed.
fn uncertain(error: StoreError) -> StoreError {
    if error.may_have_happened() { error } else { StoreError::unavailable(error) }
}
