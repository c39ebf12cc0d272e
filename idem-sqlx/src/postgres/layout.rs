//! One table, or one in partitions: how it is made, and brought from one to the other.

use sqlx::{PgPool, postgres::PgPoolOptions};

use super::PostgresStore;
use crate::{
    dialect::trusted,
    error::SetupError,
    migrate::{File, migrator},
};

/// How the records' table is laid out. The statements are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Plain,
    Partitioned,
}

const PLAIN: &[File] = &[File {
    version: 1,
    description: "records",
    sql: include_str!("../../migrations/postgres/0001_records.sql"),
}];

/// After all that makes the plain layout, and whatever will.
const PARTITIONED: &[File] = &[File {
    version: 1001,
    description: "partitions",
    sql: include_str!("../../migrations/postgres-partitioned/1001_partitions.sql"),
}];

pub(super) async fn migrate(store: &PostgresStore) -> Result<(), SetupError> {
    let pool = pool(store).await?;
    check(store, &pool).await?;
    let run = run(store, &pool, store.layout).await;
    // Another server may have made the other one meanwhile, which is the better explanation.
    check(store, &pool).await?;
    pool.close().await;
    run
}

pub(super) async fn partition(store: &PostgresStore) -> Result<(), SetupError> {
    let pool = pool(store).await?;
    run(store, &pool, Layout::Partitioned).await?;
    pool.close().await;
    Ok(())
}

/// Waiting for another server's migrations, or for an index, may take long.
async fn pool(store: &PostgresStore) -> Result<PgPool, SetupError> {
    let options = store.options.clone().options([("statement_timeout", "0")]);
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(store.statement_timeout);
    Ok(pool.connect_with(options).await?)
}

async fn run(store: &PostgresStore, pool: &PgPool, layout: Layout) -> Result<(), SetupError> {
    let files = match layout {
        Layout::Plain => &[PLAIN][..],
        Layout::Partitioned => &[PLAIN, PARTITIONED],
    };
    let mut migrator = migrator(&files.concat(), &store.names);
    if let Some(schema) = store.names.schema() {
        // `CREATE SCHEMA IF NOT EXISTS` needs the right to create it although it is there.
        let exists = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
        if !sqlx::query_scalar(exists).bind(schema).fetch_one(pool).await? {
            migrator.create_schema(store.names.quote(schema));
        }
    }
    migrator.run(pool).await.map_err(SetupError::Migrate)
}

/// Makes sure that the table, if there is one, has the layout that the store is set to, or has no
/// records that would have to be moved.
async fn check(store: &PostgresStore, pool: &PgPool) -> Result<(), SetupError> {
    let table = store.names.quoted("");
    let kind = "SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass($1)";
    let is_partitioned: Option<bool> =
        sqlx::query_scalar(kind).bind(&table).fetch_optional(pool).await?;
    match (is_partitioned, store.layout) {
        (Some(true), Layout::Plain) => Err(SetupError::IsPartitioned),
        (Some(false), Layout::Partitioned) => {
            let any = trusted(format!("SELECT EXISTS (SELECT FROM {table})"));
            if sqlx::query_scalar(any).fetch_one(pool).await? {
                return Err(SetupError::NotPartitioned);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
