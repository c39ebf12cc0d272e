//! Two stores in memory, between which a service moves.

#![allow(clippy::unwrap_used, reason = "what the tests share is a test, too")]

#[path = "../common/mod.rs"]
mod common;
mod crashes;
mod failures;
mod fences;
mod neighbours;
mod support;

mod conformance {
    use idem_core::MemoryStore;

    use crate::common::{Memory, Moving};

    idem_testkit::conformance!(Moving::of(Memory(MemoryStore::new()), Memory(MemoryStore::new())));
}
