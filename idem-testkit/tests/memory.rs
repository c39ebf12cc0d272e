//! The suite on the store in memory.

use std::{sync::Arc, time::Duration};

use idem_core::{MemoryStore, RecordId, Store};
use idem_testkit::{Harness, async_trait};

struct Memory(MemoryStore);

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

idem_testkit::conformance!(Memory(MemoryStore::new()));
