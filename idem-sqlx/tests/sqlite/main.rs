//! `SqliteStore` on real files.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "what the tests share is a test, too")]

#[path = "../common/mod.rs"]
mod common;
mod concurrency;
mod damage;
mod file;
mod observability;
mod setup;
mod transactions;

mod conformance {
    idem_testkit::conformance!(crate::file::File::fresh().await);
}
