//! The example as its users meet it: a process, driven over HTTP, on each of its databases.

#![allow(clippy::unwrap_used, reason = "what the tests share is a test, too")]

mod app;
mod contract;
mod crashes;
mod duplicates;
mod settings;
mod shutdown;
mod tiers;
