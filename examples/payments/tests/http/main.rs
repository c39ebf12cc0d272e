//! The example as its users meet it: a process, driven over HTTP, on each of its databases.

#![allow(clippy::unwrap_used, reason = "what the tests share is a test, too")]

mod accounts;
mod app;
mod contract;
#[cfg(feature = "crash-points")]
mod crash_points;
mod crashes;
mod duplicates;
mod outages;
mod payouts;
mod settings;
mod shutdown;
mod tables;
