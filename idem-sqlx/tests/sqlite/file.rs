//! Stores on files of their own.

use std::{path::PathBuf, sync::Arc, time::Duration};

use idem_core::{RecordId, Store};
use idem_sqlx::SqliteStore;
use idem_testkit::{Harness, async_trait};
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

/// A file with the tables in it, and a connection that looks at them from outside.
pub(crate) struct File {
    directory: TempDir,
    pub(crate) outside: SqlitePool,
}

impl File {
    pub(crate) async fn fresh() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records.db");
        SqliteStore::open(&path).await.unwrap().migrate().await.unwrap();
        let outside =
            SqlitePool::connect_with(SqliteConnectOptions::new().filename(path)).await.unwrap();
        Self { directory, outside }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("records.db")
    }

    pub(crate) async fn store(&self) -> SqliteStore {
        SqliteStore::open(self.path()).await.unwrap()
    }

    pub(crate) async fn execute(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.outside).await.unwrap();
    }

    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.outside).await.unwrap()
    }
}

#[async_trait]
impl Harness for File {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.store().await)
    }

    async fn delete(&self, id: &RecordId) {
        let sql = "DELETE FROM idem WHERE id = $1";
        sqlx::query(sql).bind(&id.digest()[..]).execute(&self.outside).await.unwrap();
    }

    async fn set_version(&self, id: &RecordId, version: i16) {
        let sql = "UPDATE idem SET version = $2 WHERE id = $1";
        let query = sqlx::query(sql).bind(&id.digest()[..]).bind(version);
        query.execute(&self.outside).await.unwrap();
    }

    async fn elapse(&self, by: Duration) {
        let sql = "UPDATE idem SET
            created_at = created_at - $1,
            lease_until = lease_until - $1,
            expires_at = expires_at - $1";
        let by = i64::try_from(by.as_millis()).unwrap();
        sqlx::query(sql).bind(by).execute(&self.outside).await.unwrap();
    }
}
