//! The example as its users meet it: a process, driven over HTTP and from a browser, on each of its
//! databases.

#![allow(clippy::unwrap_used, reason = "what the tests share is a test, too")]

mod app;
mod contract;
#[cfg(feature = "crash-points")]
mod crash_points;
mod crashes;
mod duplicates;
mod expiry;
mod page;
mod settings;
mod shutdown;
mod slugs;
mod tables;
mod tags;
