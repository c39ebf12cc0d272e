//! `MySqlStore` against real servers.

#![cfg(feature = "mysql")]
#![allow(clippy::unwrap_used, reason = "what the tests share is a test, too")]

#[path = "../common/mod.rs"]
mod common;
mod damage;
mod database;
mod faults;
mod locks;
mod observability;
mod packets;
mod sessions;
mod setup;
mod statements;
mod transactions;

mod conformance {
    idem_testkit::conformance!(crate::database::Database::fresh().await);
}
