//! Measurements, as the recorder of the crate `metrics` takes them.

use std::time::Duration;

use metrics::{
    Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use tokio::time::Instant;

use crate::error::StoreError;

const REQUESTS: &str = "idem_requests_total";
const EXECUTIONS_IN_FLIGHT: &str = "idem_executions_in_flight";
const WAIT_DURATION: &str = "idem_wait_duration_seconds";
const STORE_DURATION: &str = "idem_store_duration_seconds";
const STORE_ERRORS: &str = "idem_store_errors_total";
const SWEPT_RECORDS: &str = "idem_swept_records_total";
const CACHE_READS: &str = "idem_cache_reads_total";
const CACHE_WRITES: &str = "idem_cache_writes_total";
const CACHE_DOWN: &str = "idem_cache_down";

/// Tells the recorder what there is.
pub(crate) fn describe() {
    describe_counter!(REQUESTS, Unit::Count, "Requests, by what became of them");
    describe_gauge!(EXECUTIONS_IN_FLIGHT, Unit::Count, "Executions that this process is at");
    describe_histogram!(
        WAIT_DURATION,
        Unit::Seconds,
        "How long requests waited for another one's execution"
    );
    describe_histogram!(STORE_DURATION, Unit::Seconds, "How long the store took to answer");
    describe_counter!(STORE_ERRORS, Unit::Count, "Calls of the store that failed");
    describe_counter!(SWEPT_RECORDS, Unit::Count, "Expired records that this process deleted");
    describe_counter!(CACHE_READS, Unit::Count, "Requests, by what the cache had for them");
    describe_counter!(CACHE_WRITES, Unit::Count, "Answers to be cached, by what became of them");
    describe_gauge!(CACHE_DOWN, Unit::Count, "Caches that do not work");
}

pub(super) fn request(operation: &str, outcome: &'static str) {
    counter!(REQUESTS, "operation" => operation.to_owned(), "outcome" => outcome).increment(1);
}

pub(super) fn waited(operation: &str, waited: Duration) {
    histogram!(WAIT_DURATION, "operation" => operation.to_owned()).record(waited);
}

pub(crate) fn swept(records: u64) {
    counter!(SWEPT_RECORDS).increment(records);
}

pub(super) fn cache_read(result: &'static str) {
    counter!(CACHE_READS, "result" => result).increment(1);
}

pub(super) fn cache_write(result: &'static str) {
    counter!(CACHE_WRITES, "result" => result).increment(1);
}

pub(crate) fn caches_down(more: i8) {
    gauge!(CACHE_DOWN).increment(f64::from(more));
}

/// Counts an execution for as long as it is there.
pub(crate) struct InFlight(Gauge);

impl InFlight {
    pub(crate) fn of(operation: &str) -> Self {
        let gauge = gauge!(EXECUTIONS_IN_FLIGHT, "operation" => operation.to_owned());
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

pub(super) struct Timer(Instant);

impl Timer {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }
}

pub(super) fn store_call(call: &'static str, timer: &Timer, error: Option<&StoreError>) {
    histogram!(STORE_DURATION, "call" => call).record(timer.0.elapsed());
    if let Some(error) = error {
        counter!(STORE_ERRORS, "call" => call, "kind" => error.kind()).increment(1);
    }
}
