//! Handlers that take a `Tx`: their writes and their record commit together, on real databases.

#![allow(clippy::unwrap_used, reason = "what the tests share is a test, too")]

mod proxy;
mod support;

mod bodies;
mod commits;
mod concurrency;
mod conflicts;
mod derived_keys;
mod disconnects;
mod misuse;
mod not_final;
mod outcomes;
mod pool;
mod races;
mod savepoints;
mod settings;
mod statements;
mod unguarded;
mod waiting;
