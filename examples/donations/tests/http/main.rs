//! The example as its users meet it: a process, driven over HTTP.

#![allow(clippy::unwrap_used, reason = "what the tests share is a test, too")]

mod app;
mod constraint;
mod contract;
mod crashes;
mod duplicates;
mod migrations;
mod refusals;
mod settings;
mod shutdown;
mod tables;
#[cfg(feature = "unguarded")]
mod unguarded;
