//! Makes axum handlers safe to retry.
mod edge;
mod extract;
mod state;

pub use idem_core::{
    Attempt, Builder, Claim, Claimed, ConfigError, Fence, Fingerprint, Idem, Keep, KeyError,
    NoTransactions, Owner, Problem, ProblemContext, Record, RecordId, Recover, Scope, ScopeWriter,
    State, Store, StoreError, StoredResponse, Written,
};
pub use idem_macros::{Scope, idempotent};

#[cfg(feature = "memory")]
pub use idem_core::MemoryStore;

pub use crate::state::HasEngine;

/// What the macros' output calls. No part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use axum_core::response::Response;
    pub use idem_core::{
        BodyFingerprint, Endpoint, Keep, KeyFormat, OnStoreError, Recover, ScopeValue,
    };

    pub use crate::{
        edge::{Edge, Guarded, ScopeTuple, respond},
        extract::{ExtractsLast, ExtractsPart, NoAttempt, Probe},
        state::HasEngine,
    };
}
