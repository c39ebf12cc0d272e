//! Transactions of the durable store, of which the records are kept in the cache, too.

use std::any::Any;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    claims::Won,
    tier::{Completed, Tier},
};
use crate::{
    error::StoreError,
    record::RecordId,
    transaction::{Ended, OpenTransaction, Recorded},
};

/// A transaction whose record is kept once it is committed.
#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) transaction: Box<dyn OpenTransaction>,
    pub(super) tier: Tier,
    pub(super) id: RecordId,
    pub(super) won: Won,
}

impl Keeping {
    fn keep(
        (tier, id, won): (Tier, RecordId, Won),
        asked_at: Instant,
        Recorded { response, ttl }: Recorded<'_>,
        ended: &Result<Ended, StoreError>,
    ) {
        if matches!(ended, Ok(Ended::Done)) {
            let (fingerprint, age) = (won.fingerprint, won.age_at(asked_at));
            let completed = Completed { id: &id, fingerprint, response, asked_at, age, lives: ttl };
            tier.keep(&completed);
        }
    }
}

#[async_trait]
impl OpenTransaction for Keeping {
    fn lend(&mut self) -> Box<dyn Any + Send> {
        self.transaction.lend()
    }

    async fn commit(self: Box<Self>, record: Option<Recorded<'_>>) -> Result<Ended, StoreError> {
        let Self { transaction, tier, id, won } = *self;
        let asked_at = Instant::now();
        let ended = transaction.commit(record).await;
        if let Some(record) = record {
            Self::keep((tier, id, won), asked_at, record, &ended);
        }
        ended
    }

    async fn reject(self: Box<Self>, record: Recorded<'_>) -> Result<Ended, StoreError> {
        let Self { transaction, tier, id, won } = *self;
        let asked_at = Instant::now();
        let ended = transaction.reject(record).await;
        Self::keep((tier, id, won), asked_at, record, &ended);
        ended
    }

    async fn roll_back(self: Box<Self>) -> Result<Ended, StoreError> {
        self.transaction.roll_back().await
    }
}
