//! Which store a cached answer is a copy from.

use std::{error::Error, sync::OnceLock, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::{sync::Mutex, time::Instant};
use uuid::Uuid;

use crate::{
    derived_key::DerivedKey,
    error::StoreError,
    fingerprint::FingerprintBuilder,
    record::{Owner, RecordId, StoredResponse},
    scope::ScopeValue,
    store::{Claim, Claimed, Recover, Store, Written},
};

/// The operation of the record that says which store it is in.
const OPERATION: &str = "idem.tiered";

/// For good, and not forever: held records are those that never expire.
const LIFE: Duration = Duration::from_hours(1000 * 365 * 24);

/// How long nobody asks again after it could not be found out.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells a store's records from those of all others: two that share a cache, or a new one in place of
/// one that was deleted, must not answer for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin([u8; 16]);

impl Origin {
    pub(super) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// What is known of a store's origin.
#[derive(Debug, Default)]
pub(super) struct Learned(OnceLock<Origin>, Mutex<Option<Instant>>);

impl Learned {
    pub(super) fn known(&self) -> Option<Origin> {
        self.0.get().copied()
    }

    /// Asks the store if nobody has, and if nobody else is at it.
    pub(super) async fn learn_from(&self, durable: &impl Store) {
        let Self(known, asked) = self;
        if known.get().is_some() {
            return;
        }
        let Ok(mut asked) = asked.try_lock() else { return };
        if asked.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        *asked = Some(Instant::now());
        match read_or_make(durable).await {
            Ok(Some(origin)) => {
                known.get_or_init(|| origin);
            }
            Ok(None) => {}
            // It says so itself, to those who need it.
            Err(error) if error.is_outage() => {}
            Err(error) => {
                let error = &error as &dyn Error;
                tracing::warn!(error, "nothing is cached: it cannot be told which store this is");
            }
        }
    }
}

/// Reads the origin from a record of its own, which whoever is first makes.
async fn read_or_make(durable: &impl Store) -> Result<Option<Origin>, StoreError> {
    let key = DerivedKey::of("origin");
    let owner = Owner::draw(RecordId::derived(OPERATION, &ScopeValue::global(), &key));
    let fingerprint = FingerprintBuilder::new(&Method::POST, OPERATION).none();
    let lease = Duration::from_secs(10);
    let claim = Claim { owner, fingerprint, recover: Recover::Retry, lease, ttl: LIFE };
    match durable.claim(&claim).await?.claimed {
        Claimed::Won { .. } => {
            let origin = claim.owner.attempt.as_uuid();
            let body = Some(Bytes::from(origin.to_string()));
            let response = StoredResponse { status: StatusCode::OK, headers: Vec::new(), body };
            let written = durable.complete(&claim.owner, &response, LIFE).await?;
            Ok((written == Written::Accepted).then(|| Origin(origin.into_bytes())))
        }
        Claimed::Completed(StoredResponse { body: Some(body), .. }) => {
            let origin = Uuid::try_parse_ascii(&body);
            let origin = origin.map_err(|_| StoreError::Damaged("the origin is no id"))?;
            Ok(Some(Origin(origin.into_bytes())))
        }
        _ => Ok(None),
    }
}
