//! An example as its users meet it: a process, driven over HTTP, on each of its databases.
//!
//! Like all test code, this panics when something is not as it should be.
#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "what tests share is a test, too"
)]

mod answer;
mod app;
mod log;
pub mod records;
mod setup;
pub mod sql;

pub use self::{
    answer::Answer,
    app::{App, until_answered},
    setup::{Database, Setup},
};

use std::time::Duration;

/// How long anything may take on a busy machine before a test gives up.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Runs each scenario on SQLite and on Postgres.
#[macro_export]
macro_rules! on_each_database {
    ($(async fn $name:ident($database:ident: Database) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn scenario($database: $crate::testing::Database) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                scenario($crate::testing::Database::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                scenario($crate::testing::Database::Postgres).await;
            }
        }
    )*};
}
