//! Stores on databases of their own.

use std::{sync::Arc, time::Duration};

use idem_core::{RecordId, Store};
use idem_sqlx::MySqlStore;
use idem_testkit::{Harness, MariaDbServer, async_trait};
use sqlx::MySqlPool;

/// A database with the tables in it, and a connection that looks at them from outside.
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) outside: MySqlPool,
}

impl Database {
    pub(crate) async fn fresh() -> Self {
        Self::on(MariaDbServer::shared()).await
    }

    pub(crate) async fn on(server: &MariaDbServer) -> Self {
        let url = server.fresh_database();
        let outside = MySqlPool::connect(&url).await.unwrap();
        let database = Self { url, outside };
        database.store().await.migrate().await.unwrap();
        database
    }

    pub(crate) async fn store(&self) -> MySqlStore {
        MySqlStore::connect(&self.url).await.unwrap()
    }

    /// A store that gives up after a second.
    pub(crate) async fn impatient_store(&self) -> MySqlStore {
        MySqlStore::builder(self.url.parse().unwrap())
            .statement_timeout(Duration::from_secs(1))
            .connect()
            .await
            .unwrap()
    }

    pub(crate) async fn execute(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.outside).await.unwrap();
    }

    /// Ends all other sessions of this database, and says how many there were.
    pub(crate) async fn end_sessions(&self) -> usize {
        let sessions = "SELECT id FROM information_schema.processlist
            WHERE db = DATABASE() AND id <> CONNECTION_ID()";
        let sessions: Vec<i64> =
            sqlx::query_scalar(sessions).fetch_all(&self.outside).await.unwrap();
        for session in &sessions {
            // Some end by themselves meanwhile.
            let kill = sqlx::AssertSqlSafe(format!("KILL {session}"));
            let _ = sqlx::raw_sql(kill).execute(&self.outside).await;
        }
        sessions.len()
    }

    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.outside).await.unwrap()
    }
}

#[async_trait]
impl Harness for Database {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.store().await)
    }

    async fn delete(&self, id: &RecordId) {
        let sql = "DELETE FROM idem WHERE id = ?";
        sqlx::query(sql).bind(&id.digest()[..]).execute(&self.outside).await.unwrap();
    }

    async fn set_version(&self, id: &RecordId, version: i16) {
        let sql = "UPDATE idem SET version = ? WHERE id = ?";
        let query = sqlx::query(sql).bind(version).bind(&id.digest()[..]);
        query.execute(&self.outside).await.unwrap();
    }

    async fn elapse(&self, by: Duration) {
        let sql = "UPDATE idem SET
            created_at = created_at - INTERVAL ? SECOND,
            lease_until = lease_until - INTERVAL ? SECOND,
            expires_at = expires_at - INTERVAL ? SECOND";
        let by = i64::try_from(by.as_secs()).unwrap();
        sqlx::query(sql).bind(by).bind(by).bind(by).execute(&self.outside).await.unwrap();
    }
}
