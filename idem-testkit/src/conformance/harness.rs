//! What the suite must be able to do to a store from outside.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use idem_core::{RecordId, Store};

/// Records that a test owns, and what the operations of a [`Store`] alone cannot do to them.
///
/// What has no default is required: a store for which it were missing could not be shown to be right.
/// A hook that fails should panic.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// A new store over the same records, with connections of its own: what another server, or the
    /// next process, sees.
    async fn open(&self) -> Arc<dyn Store>;

    /// Deletes a record behind the store's back, as an operator's `DELETE` would.
    async fn delete(&self, id: &RecordId);

    /// Pretends that a record was written by the version `version` of the record format.
    async fn set_version(&self, id: &RecordId, version: i16);

    /// Lets time pass by the store's clock, for instance by moving every stored time back.
    async fn elapse(&self, by: Duration);

    /// How many records are there, expired or not, where the database deletes expired records by
    /// itself. Then a sweep must find nothing to do, and what it would have deleted must be gone as
    /// soon as time has passed. `None`, the default, where sweeps delete them.
    async fn records(&self) -> Option<u64> {
        None
    }
}
