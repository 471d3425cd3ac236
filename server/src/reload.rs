//! What came of reading the configuration anew: counters, and the word on `/readyz`.

use crate::metrics::{counter, gauge};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// The history of reloads; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Reloads(Arc<Inner>);

#[derive(Default)]
struct Inner {
    taken: AtomicU64,
    refused: AtomicU64,
    waiting: AtomicU64,
    remark: Mutex<Option<String>>,
}

impl Reloads {
    /// A reading was taken, but for the keys in `waiting`, which take effect at the next start.
    pub(crate) fn taken(&self, waiting: &[&str]) {
        self.0.taken.fetch_add(1, Relaxed);
        self.0.waiting.store(waiting.len() as u64, Relaxed);
        let remark = format!("changed, but taken at the next start: {}", waiting.join(", "));
        self.set_remark((!waiting.is_empty()).then_some(remark));
    }

    /// A reading was refused; what was read before goes on.
    pub(crate) fn refused(&self, why: &str) {
        self.0.refused.fetch_add(1, Relaxed);
        let why = why.replace('\n', "; ");
        self.set_remark(Some(format!("the new one was refused, the one before goes on: {why}")));
    }

    /// What an operator should know of the configuration; none when all is as written.
    #[must_use]
    pub(crate) fn remark(&self) -> Option<String> {
        self.0.remark.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_remark(&self, remark: Option<String>) {
        *self.0.remark.lock().unwrap_or_else(PoisonError::into_inner) = remark;
    }
}

impl Collector for Reloads {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        vec![
            counter(
                "harper_config_reloads_total",
                "Changed configurations taken while running.",
                self.0.taken.load(Relaxed) as f64,
            ),
            counter(
                "harper_config_reload_failures_total",
                "Changed configurations refused because of an error.",
                self.0.refused.load(Relaxed) as f64,
            ),
            gauge(
                "harper_config_waiting_keys",
                "Changed keys that take effect at the next start.",
                self.0.waiting.load(Relaxed) as f64,
            ),
        ]
    }
}
