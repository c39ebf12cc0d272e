//! The example as its users meet it: a process, driven over HTTP, on each of its databases.

#![allow(clippy::unwrap_used, reason = "what the tests share is a test, too")]

mod accounts;
mod app;
mod contract;
#[cfg(feature = "crash-points")]
mod crash_points;
mod crashes;
mod duplicates;
mod outages;
mod payouts;
mod settings;
mod shutdown;
mod tables;

/// Runs each scenario on SQLite and on Postgres.
macro_rules! on_each_database {
    ($(async fn $name:ident($database:ident: Database) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn scenario($database: Database) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                scenario(Database::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                scenario(Database::Postgres).await;
            }
        }
    )*};
}
pub(crate) use on_each_database;
