//! The suite on the store in memory.

mod common;

use common::Memory;
use idem_core::MemoryStore;

idem_testkit::conformance!(Memory(MemoryStore::new()));
