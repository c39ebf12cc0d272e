//! What is measured, summed up since a test began.

#![allow(dead_code, reason = "no set of tests uses all of it")]

use std::{collections::BTreeMap, future::Future};

use metrics_util::{
    MetricKind,
    debugging::{DebugValue, DebuggingRecorder, Snapshotter},
};
use tokio::runtime::Builder;

/// What one test has measured so far, by metric and labels: `name{label=value,…}`.
pub(crate) struct Meters {
    snapshotter: Snapshotter,
    sums: BTreeMap<String, i64>,
    values: BTreeMap<String, Vec<f64>>,
    metrics: BTreeMap<String, Metric>,
}

/// What is known of a metric.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Metric {
    /// As Prometheus calls it.
    pub(crate) kind: &'static str,
    pub(crate) labels: Vec<String>,
    pub(crate) unit: Option<&'static str>,
    pub(crate) description: String,
}

/// Runs a test with a recorder of its own, on one thread.
pub(crate) fn measured<F: Future>(
    runtime: &mut Builder,
    test: impl FnOnce(Meters) -> F,
) -> F::Output {
    let recorder = DebuggingRecorder::new();
    let meters = Meters {
        snapshotter: recorder.snapshotter(),
        sums: BTreeMap::new(),
        values: BTreeMap::new(),
        metrics: BTreeMap::new(),
    };
    let runtime = runtime.enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        let output = runtime.block_on(test(meters));
        drop(runtime);
        output
    })
}

impl Meters {
    /// A counter or a gauge; 0 when nothing was measured.
    pub(crate) fn sum(&mut self, key: &str) -> i64 {
        self.read();
        self.sums.get(key).copied().unwrap_or_default()
    }

    /// The sums of all keys that begin so.
    pub(crate) fn sums(&mut self, beginning: &str) -> BTreeMap<String, i64> {
        self.read();
        let of_these = |key: &String| key.strip_prefix(beginning).map(str::to_owned);
        self.sums.iter().filter_map(|(key, sum)| Some((of_these(key)?, *sum))).collect()
    }

    /// The labels of all that begins so.
    pub(crate) fn labels(&mut self, beginning: &str) -> Vec<String> {
        self.read();
        let of_these = |key: &String| key.strip_prefix(beginning).map(str::to_owned);
        self.sums.keys().chain(self.values.keys()).filter_map(of_these).collect()
    }

    /// What a histogram was given.
    pub(crate) fn values(&mut self, key: &str) -> Vec<f64> {
        self.read();
        self.values.get(key).cloned().unwrap_or_default()
    }

    /// All that was measured.
    pub(crate) fn metrics(&mut self) -> BTreeMap<String, Metric> {
        self.read();
        self.metrics.clone()
    }

    /// A snapshot takes away what it shows.
    fn read(&mut self) {
        for (key, unit, description, value) in self.snapshotter.snapshot().into_vec() {
            let (kind, key) = key.into_parts();
            let mut labels: Vec<_> = key.labels().map(|it| (it.key(), it.value())).collect();
            labels.sort_unstable();
            let text: Vec<_> =
                labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let text = format!("{}{{{}}}", key.name(), text.join(","));
            match value {
                DebugValue::Counter(more) => {
                    *self.sums.entry(text).or_default() += i64::try_from(more).unwrap();
                }
                DebugValue::Gauge(more) => {
                    *self.sums.entry(text).or_default() += more.to_string().parse::<i64>().unwrap();
                }
                DebugValue::Histogram(more) => {
                    self.values.entry(text).or_default().extend(more.into_iter().map(|it| *it));
                }
            }
            let metric = Metric {
                kind: match kind {
                    MetricKind::Counter => "counter",
                    MetricKind::Gauge => "gauge",
                    MetricKind::Histogram => "histogram",
                },
                labels: labels.iter().map(|(name, _)| (*name).to_owned()).collect(),
                unit: unit.map(|it| it.as_str()),
                description: description.unwrap_or_default().into_owned(),
            };
            let known = self.metrics.entry(key.name().to_owned()).or_insert_with(|| metric.clone());
            assert_eq!(*known, metric, "of {}", key.name());
        }
    }
}
