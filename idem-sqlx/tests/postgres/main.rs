//! `PostgresStore` against real servers.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "what the tests share is a test, too")]

#[path = "../common/mod.rs"]
mod common;
mod connections;
mod damage;
mod database;
mod faults;
mod isolation;
mod listening;
mod observability;
mod operators;
mod partitions;
mod replicas;
mod setup;
mod statements;
mod transactions;

mod conformance {
    idem_testkit::conformance!(crate::database::Database::fresh().await);
}

mod conformance_in_partitions {
    idem_testkit::conformance!(crate::database::Database::partitioned().await);
}
