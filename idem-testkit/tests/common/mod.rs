//! Harnesses that tests share.

#![allow(dead_code, reason = "no test file uses all of it")]

use std::{sync::Arc, time::Duration};

use idem_core::{MemoryStore, Migrating, RecordId, Store};
use idem_testkit::{Harness, async_trait};

/// A store in memory.
#[derive(Clone)]
pub(crate) struct Memory(pub(crate) MemoryStore);

#[async_trait]
impl Harness for Memory {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }

    async fn delete(&self, id: &RecordId) {
        self.0.forget(id);
    }

    async fn set_version(&self, id: &RecordId, version: i16) {
        self.0.set_version(id, version);
    }

    async fn elapse(&self, by: Duration) {
        self.0.advance(by);
    }
}

/// Two stores between which a service moves.
pub(crate) struct Moving {
    pub(crate) old: Box<dyn Harness>,
    pub(crate) new: Box<dyn Harness>,
}

impl Moving {
    pub(crate) fn of(old: impl Harness, new: impl Harness) -> Self {
        Self { old: Box::new(old), new: Box::new(new) }
    }
}

#[async_trait]
impl Harness for Moving {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(Migrating::new(self.old.open().await, self.new.open().await))
    }

    async fn delete(&self, id: &RecordId) {
        self.old.delete(id).await;
        self.new.delete(id).await;
    }

    async fn set_version(&self, id: &RecordId, version: i16) {
        self.old.set_version(id, version).await;
        self.new.set_version(id, version).await;
    }

    async fn elapse(&self, by: Duration) {
        self.old.elapse(by).await;
        self.new.elapse(by).await;
    }

    async fn records(&self) -> Option<u64> {
        self.old.records().await
    }
}
