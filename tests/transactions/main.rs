//! Handlers that take a `Tx`: their writes and their record commit together, on real databases.

#![allow(clippy::unwrap_used, reason = "what the tests share is a test, too")]

#[path = "../common/documentation.rs"]
mod documentation;
#[path = "../common/log.rs"]
mod log;
#[cfg(feature = "metrics")]
#[path = "../common/meters.rs"]
mod meters;
mod proxy;
mod support;

mod bodies;
mod commits;
mod concurrency;
mod conflicts;
mod derived_keys;
mod disconnects;
mod given_up;
mod listening;
mod mariadb;
mod misuse;
mod not_final;
mod observed;
mod outcomes;
mod pool;
mod races;
mod savepoints;
mod settings;
mod statements;
mod unguarded;
mod waiting;
