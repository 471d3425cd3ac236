//! What the operator counts, as Prometheus reads it. No label holds the name of an object.

use crate::crd::Guarded;
use kube::runtime::reflector::Store;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Buckets of the reconcile duration, in seconds.
const BUCKETS: [f64; 11] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The operator's metrics and their registry.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    durations: HistogramVec,
    applies: IntCounterVec,
    healed: IntCounterVec,
    watch_errors: IntCounter,
    servers: IntGaugeVec,
    unreadable: IntGauge,
    stores: Mutex<Vec<Store<Guarded>>>,
}

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    /// When two of them have the same name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let named = |name: &str, help: &str| Opts::new(format!("harper_operator_{name}"), help);
        let metrics = Self {
            registry: Registry::new(),
            reconciles: IntCounterVec::new(
                named("reconcile_total", "Reconciles by their result."),
                &["result"],
            )?,
            durations: HistogramVec::new(
                HistogramOpts::from(named("reconcile_duration_seconds", "Time of a reconcile."))
                    .buckets(BUCKETS.to_vec()),
                &["result"],
            )?,
            applies: IntCounterVec::new(
                named("apply_total", "Writes to the API server by kind and outcome."),
                &["kind", "outcome"],
            )?,
            healed: IntCounterVec::new(
                named("drift_healed_total", "Children put back after someone else's change."),
                &["kind"],
            )?,
            watch_errors: IntCounter::with_opts(named(
                "watch_errors_total",
                "Watches that ended with an error and were started again.",
            ))?,
            servers: IntGaugeVec::new(
                named("servers", "HarperServers by condition and its status."),
                &["condition", "status"],
            )?,
            unreadable: IntGauge::with_opts(named(
                "servers_unreadable",
                "HarperServers that do not fit their schema.",
            ))?,
            stores: Mutex::default(),
        };
        metrics.register()?;
        Ok(metrics)
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        let info = IntGauge::with_opts(
            Opts::new("harper_operator_build_info", "The operator's version.")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        )?;
        info.set(1);
        self.registry.register(Box::new(info))?;
        self.registry.register(Box::new(self.reconciles.clone()))?;
        self.registry.register(Box::new(self.durations.clone()))?;
        self.registry.register(Box::new(self.applies.clone()))?;
        self.registry.register(Box::new(self.healed.clone()))?;
        self.registry.register(Box::new(self.watch_errors.clone()))?;
        self.registry.register(Box::new(self.servers.clone()))?;
        self.registry.register(Box::new(self.unreadable.clone()))
    }

    /// Counts a reconcile.
    pub fn reconciled(&self, result: &str, duration: Duration) {
        self.reconciles.with_label_values(&[result]).inc();
        self.durations.with_label_values(&[result]).observe(duration.as_secs_f64());
    }

    /// Counts a write.
    pub fn applied(&self, kind: &str, outcome: &str) {
        self.applies.with_label_values(&[kind, outcome]).inc();
    }

    /// Counts a child that was put back.
    pub fn healed(&self, kind: &str) {
        self.healed.with_label_values(&[kind]).inc();
    }

    /// Counts a watch that ended with an error.
    pub fn watch_failed(&self) {
        self.watch_errors.inc();
    }

    /// Adds a store whose servers are counted when the metrics are read.
    pub fn count_servers_of(&self, store: Store<Guarded>) {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).push(store);
    }

    /// The page for Prometheus.
    #[must_use]
    pub fn page(&self) -> String {
        self.count_servers();
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }

    /// Counts at the time of reading, so that no count can drift from what it counts.
    fn count_servers(&self) {
        self.servers.reset();
        let mut unreadable = 0;
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        for server in stores.iter().flat_map(Store::state) {
            let Ok(server) = &server.0 else {
                unreadable += 1;
                continue;
            };
            for condition in server.status.iter().flat_map(|status| &status.conditions) {
                let labels = [condition.type_.as_str(), condition.status.as_str()];
                self.servers.with_label_values(&labels).inc();
            }
        }
        self.unreadable.set(unreadable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_metric_that_has_a_value() {
        let metrics = Metrics::new().unwrap();
        metrics.reconciled("applied", Duration::from_millis(3));
        metrics.applied("Service", "changed");
        metrics.healed("Service");
        metrics.watch_failed();
        let page = metrics.page();
        for line in [
            "harper_operator_reconcile_total{result=\"applied\"} 1",
            "harper_operator_apply_total{kind=\"Service\",outcome=\"changed\"} 1",
            "harper_operator_drift_healed_total{kind=\"Service\"} 1",
            "harper_operator_watch_errors_total 1",
            "harper_operator_servers_unreadable 0",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
    }
}
