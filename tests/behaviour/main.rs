//! What a guarded endpoint promises, through the facade's public interface.

mod drain;
mod fingerprints;
mod keys;
mod leases;
mod outages;
mod problems;
mod rejections;
mod replays;
mod responses;
mod retries;
mod scopes;
mod secrets;
mod support;
