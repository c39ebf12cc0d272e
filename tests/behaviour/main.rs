//! What a guarded endpoint promises, through the facade's public interface.

#![allow(clippy::unwrap_used, reason = "what the tests share is a test, too")]

mod announcements;
mod attempt_keys;
#[cfg(feature = "metrics")]
mod cached;
mod derived_keys;
#[path = "../common/documentation.rs"]
mod documentation;
mod drain;
mod events;
mod fallback_keys;
mod fingerprints;
mod held;
mod keys;
mod leases;
#[path = "../common/log.rs"]
mod log;
#[cfg(feature = "metrics")]
#[path = "../common/meters.rs"]
mod meters;
#[cfg(feature = "metrics")]
mod metrics;
mod not_final;
mod outages;
mod problems;
mod rejections;
mod replays;
mod responses;
mod retries;
mod scopes;
mod secrets;
mod settings;
mod support;
mod sweeping;
mod waiting;
