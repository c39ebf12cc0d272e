//! Every shape of handler that the attribute takes: it executes once, and its replay has the same
//! bytes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arguments;
mod attempts;
mod bodies;
mod operations;
mod patterns;
mod returns;
mod scopes;
mod stacking;
mod support;
#[cfg(feature = "sqlite")]
mod transactions;
mod unguarded;
