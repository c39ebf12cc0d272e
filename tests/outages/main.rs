//! A store that is reached over a network, and every way in which the wire to it fails.

#![allow(clippy::unwrap_used, reason = "what the tests share is a test, too")]

mod cluster;
mod crowds;
mod endings;
mod leased;
mod support;
mod transactional;
mod waiting;
