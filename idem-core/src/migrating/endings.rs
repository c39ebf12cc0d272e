//! Endings: in the new store, then in the old one.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Migrating;
use crate::{
    error::StoreError,
    record::{Owner, RecordId, State, StoredResponse},
    store::{Claim, Claimed, Recover, Resolution, Store, Written},
};

/// How long a claim holds that only writes down what has ended.
const LEASE: Duration = Duration::from_secs(30);

impl Migrating {
    pub(super) async fn complete_both(
        &self,
        owner: &Owner,
        response: &StoredResponse,
        ttl: Duration,
    ) -> Result<Written, StoreError> {
        if self.new.complete(owner, response, ttl).await? == Written::Stale {
            return Ok(Written::Stale);
        }
        match self.old.complete(owner, response, ttl).await? {
            Written::Accepted => Ok(Written::Accepted),
            Written::Stale => self.completed_by_another(owner, ttl).await,
        }
    }

    /// The new store has the answer, and somebody else has the record in the old one. If he finds the
    /// answer in the new store, he records it for us; if he does not look there, he executes.
    async fn completed_by_another(
        &self,
        owner: &Owner,
        ttl: Duration,
    ) -> Result<Written, StoreError> {
        const PATIENCE: Duration = Duration::from_secs(2);
        const PAUSE: Duration = Duration::from_millis(10);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let new = self.new.get(&owner.id).await?.filter(|it| it.attempt == owner.attempt);
            let Some(answer) = new.and_then(|it| it.response) else { break };
            match self.old.get(&owner.id).await? {
                Some(old) if old.state == State::Completed => {
                    return Ok(Written::from_hit(old.response == Some(answer)));
                }
                Some(old) if old.state != State::Failed => sleep(PAUSE).await,
                // It failed there, or its claim was taken back: the answer is what counts.
                _ => self.copy(self.old.as_ref(), &owner.id, &answer, ttl).await?,
            }
        }
        Ok(Written::Stale)
    }

    pub(super) async fn resolve_in_both(
        &self,
        owner: &Owner,
        resolution: &Resolution,
    ) -> Result<Written, StoreError> {
        if self.new.resolve(owner, resolution).await? == Written::Accepted {
            // If it is not yet held there, it is repaired when it is.
            let _ = self.old.resolve(owner, resolution).await?;
            return Ok(Written::Accepted);
        }
        if !self.only_the_old_one_knows(owner, resolution).await? {
            return Ok(Written::Stale);
        }
        let written = self.old.resolve(owner, resolution).await?;
        if let (Written::Accepted, Resolution::Completed { response, ttl }) = (written, resolution)
        {
            self.copy(self.new.as_ref(), &owner.id, response, *ttl).await?;
        }
        Ok(written)
    }

    /// Whether the new store has nothing to say about what became of an execution, or was told by
    /// this very resolution.
    async fn only_the_old_one_knows(
        &self,
        owner: &Owner,
        resolution: &Resolution,
    ) -> Result<bool, StoreError> {
        let records = tokio::try_join!(self.old.get(&owner.id), self.new.get(&owner.id));
        let (old, new) = match records {
            Ok(records) => records,
            Err(StoreError::UnknownVersion(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        let after = |resolution: &Resolution| resolution.attempt_after(owner.attempt);
        if old.is_some_and(|it| it.attempt == after(resolution)) {
            return Ok(true);
        }
        let failed = Resolution::Failed { ttl: Duration::ZERO };
        Ok(match new {
            None => true,
            Some(new) if new.attempt == owner.attempt || new.attempt == after(&failed) => false,
            Some(new) if new.state == State::Failed => true,
            Some(new) if new.state == State::InFlight => {
                let id = std::slice::from_ref(&owner.id);
                !self.new.not_in_flight(id).await?.is_empty()
            }
            Some(_) => false,
        })
    }

    /// Completes a record in one of the stores with an answer that the other one has, unless it says
    /// something else about it by now.
    async fn copy(
        &self,
        into: &dyn Store,
        id: &RecordId,
        response: &StoredResponse,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        let (old, new) = tokio::try_join!(self.old.get(id), self.new.get(id))?;
        let Some(known) = old.or(new) else { return Ok(()) };
        let claim = Claim {
            owner: Owner::draw(id.clone()),
            fingerprint: known.fingerprint,
            recover: Recover::Retry,
            lease: LEASE,
            ttl: ttl.max(LEASE),
        };
        if let Claimed::Won { .. } = into.claim(&claim).await?.claimed {
            let _ = into.complete(&claim.owner, response, ttl).await?;
        }
        Ok(())
    }
}
