//! The protocol and the engine of [Idem](https://docs.rs/idem-rs), free of any web framework and any
//! database.
//!
//! Applications use the facade crate `idem-rs`. This crate is for those who write a
//! [`Store`] or a binding to another web framework: read a key, build a [`RecordId`] and a
//! [`Fingerprint`], and let [`Idem::answer`] decide.

mod admission;
mod announcer;
mod attempt;
mod awaited;
mod builder;
mod cache;
mod claiming;
mod crash;
mod derived_key;
mod endpoint;
mod engine;
mod error;
mod execution;
mod fingerprint;
mod handler;
mod held;
mod idem;
mod key;
mod lease;
mod listening;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "memory")]
mod memory_cache;
mod migrating;
mod observe;
mod problem;
mod record;
mod response;
mod running;
mod scope;
mod store;
mod sweeping;
mod sync;
#[cfg(test)]
mod test_support;
mod tiered;
mod transaction;
mod transactional;

/// Not a public interface: what the other crates of Idem call.
#[doc(hidden)]
pub use crate::crash::crash_point;
/// For implementations of [`Store`] and [`Reconciler`].
pub use async_trait::async_trait;

pub use crate::{
    announcer::{Announced, Announcements, Announcer},
    attempt::Attempt,
    builder::{Builder, ConfigError},
    cache::{Cache, CacheError, Found},
    derived_key::DerivedKey,
    endpoint::{BodyFingerprint, Endpoint, Keep, OnConflict, OnStoreError},
    engine::GuardedRequest,
    error::StoreError,
    fingerprint::{Fingerprint, FingerprintBuilder, FingerprintError},
    handler::{Granted, Handled},
    held::{Outcome, Reconciler, ResolveError},
    idem::Idem,
    key::{IdempotencyKey, KeyError, KeyFormat, KeySource, MAX_KEY_LEN},
    migrating::Migrating,
    problem::{Problem, ProblemContext},
    record::{
        AttemptId, Fence, Held, Owner, RECORD_VERSION, Record, RecordId, State, StoredResponse,
    },
    response::MarkedNotFinal,
    scope::{Scope, ScopeValue, ScopeWriter},
    store::{
        After, Begin, Begun, CacheHealth, Claim, Claimed, Health, Judged, NoTransactions, Recover,
        Resolution, Store, Written,
    },
    tiered::Tiered,
    transaction::{Ended, Isolation, OpenTransaction, Recorded, TransactionSettings},
};
#[cfg(feature = "memory")]
pub use crate::{memory::MemoryStore, memory_cache::MemoryCache};
