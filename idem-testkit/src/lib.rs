//! Test tools for [Idem](https://docs.rs/idem-rs): a suite that decides whether a store is correct,
//! throwaway database servers and [browsers](ChromeDriver), a [wire that fails on demand](FaultProxy), and
//! (feature `crash-points`) places where a process can be killed.
//!
//! # Testing a store
//!
//! [`conformance!`] runs the suite. What the operations of a store alone cannot provoke, a
//! [`Harness`] does from outside: time passes, a record is deleted, another server looks. For the
//! store in memory, the whole test file is this:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use idem_core::{MemoryStore, RecordId, Store};
//! use idem_testkit::{Harness, async_trait};
//!
//! struct Memory(MemoryStore);
//!
//! #[async_trait]
//! impl Harness for Memory {
//!     async fn open(&self) -> Arc<dyn Store> {
//!         Arc::new(self.0.clone())
//!     }
//!
//!     async fn delete(&self, id: &RecordId) {
//!         self.0.forget(id);
//!     }
//!
//!     async fn set_version(&self, id: &RecordId, version: i16) {
//!         self.0.set_version(id, version);
//!     }
//!
//!     async fn elapse(&self, by: Duration) {
//!         self.0.advance(by);
//!     }
//! }
//!
//! # mod within { use super::*;
//! idem_testkit::conformance!(Memory(MemoryStore::new()));
//! # }
//! # fn main() {}
//! ```
//!
//! [`announcements!`] tests a store that also announces what has ended.
//!
//! A store in a database opens a new pool in `open` and lets time pass by an `UPDATE` that moves
//! every time back. [`PostgresServer`] and [`MariaDbServer`] give each test an empty database to do so,
//! [`RedisServer`] and [`RedisCluster`] a prefix for keys that nobody else has.

mod chromedriver;
mod conformance;
#[cfg(feature = "crash-points")]
pub mod crash;
mod mariadb;
mod ports;
mod postgres;
mod proxy;
mod redis;
mod supervisor;

pub use async_trait::async_trait;

pub use crate::{
    chromedriver::ChromeDriver,
    conformance::Harness,
    mariadb::MariaDbServer,
    postgres::PostgresServer,
    proxy::{Fault, FaultProxy},
    redis::{RedisCluster, RedisServer},
};

/// What [`conformance!`] and [`announcements!`] expand to. Not a public interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::conformance::*;
}
