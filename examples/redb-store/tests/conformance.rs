//! The suite on the store in a file.

use std::{sync::Arc, time::Duration};

use idem_core::{RecordId, Store};
use idem_testkit::{Harness, async_trait};
use redb_store::RedbStore;
use tempfile::TempDir;

struct File {
    store: RedbStore,
    _directory: TempDir,
}

impl File {
    fn fresh() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("records.redb");
        let store = RedbStore::open(path).expect("a store");
        Self { store, _directory: directory }
    }
}

#[async_trait]
impl Harness for File {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    async fn delete(&self, id: &RecordId) {
        self.store.forget(id).await.expect("it is forgotten");
    }

    async fn set_version(&self, id: &RecordId, version: i16) {
        self.store.set_version(id, version).await.expect("it is set");
    }

    async fn elapse(&self, by: Duration) {
        self.store.advance(by);
    }
}

idem_testkit::conformance!(File::fresh());
