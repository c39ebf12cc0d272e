//! Without the feature `metrics` nothing is measured.

use std::time::Duration;

use crate::error::StoreError;

pub(crate) const fn describe() {}

pub(super) const fn request(_operation: &str, _outcome: &'static str) {}

pub(super) const fn waited(_operation: &str, _waited: Duration) {}

pub(crate) const fn swept(_records: u64) {}

pub(super) const fn cache_read(_result: &'static str) {}

pub(super) const fn cache_write(_result: &'static str) {}

pub(crate) const fn caches_down(_more: i8) {}

pub(crate) struct InFlight;

impl InFlight {
    pub(crate) const fn of(_operation: &str) -> Self {
        Self
    }
}

pub(super) struct Timer;

impl Timer {
    pub(super) const fn start() -> Self {
        Self
    }
}

pub(super) const fn store_call(_call: &'static str, _timer: &Timer, _error: Option<&StoreError>) {}
