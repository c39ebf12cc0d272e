//! Stores on databases of their own.

use std::{sync::Arc, time::Duration};

use idem_core::{RecordId, Store};
use idem_sqlx::{PostgresBuilder, PostgresStore};
use idem_testkit::{Harness, PostgresServer, async_trait};
use sqlx::PgPool;

/// A database with the tables in it, and a connection that looks at them from outside.
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) outside: PgPool,
    layout: Layout,
}

#[derive(Clone, Copy)]
enum Layout {
    Plain,
    Partitioned,
}

impl Database {
    pub(crate) async fn fresh() -> Self {
        Self::on(PostgresServer::shared()).await
    }

    /// Whose records are in partitions.
    pub(crate) async fn partitioned() -> Self {
        Self::made(PostgresServer::shared(), Layout::Partitioned).await
    }

    pub(crate) async fn on(server: &PostgresServer) -> Self {
        Self::made(server, Layout::Plain).await
    }

    pub(crate) async fn partitioned_on(server: &PostgresServer) -> Self {
        Self::made(server, Layout::Partitioned).await
    }

    async fn made(server: &PostgresServer, layout: Layout) -> Self {
        let url = server.fresh_database();
        let outside = PgPool::connect(&url).await.unwrap();
        let database = Self { url, outside, layout };
        database.store().await.migrate().await.unwrap();
        database
    }

    fn builder(&self) -> PostgresBuilder {
        let builder = PostgresStore::builder(self.url.parse().unwrap());
        match self.layout {
            Layout::Plain => builder,
            Layout::Partitioned => builder.partitioned(),
        }
    }

    pub(crate) async fn store(&self) -> PostgresStore {
        self.builder().connect().await.unwrap()
    }

    /// A store that gives up after a second.
    pub(crate) async fn impatient_store(&self) -> PostgresStore {
        let builder = self.builder().statement_timeout(Duration::from_secs(1));
        builder.connect().await.unwrap()
    }

    pub(crate) async fn execute(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.outside).await.unwrap();
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
            created_at = created_at - $1 * interval '1 ms',
            lease_until = lease_until - $1 * interval '1 ms',
            expires_at = expires_at - $1 * interval '1 ms'";
        let by = i64::try_from(by.as_millis()).unwrap();
        sqlx::query(sql).bind(by).execute(&self.outside).await.unwrap();
    }
}
