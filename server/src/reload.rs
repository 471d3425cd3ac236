//! What came of reading the configuration or the certificates anew: counters, and the word on `/readyz`.

use crate::metrics::{counter, gauge};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// The history of reloads; clones share it.
#[derive(Clone)]
pub(crate) struct Reloads(Arc<Inner>);

struct Inner {
    names: &'static Names,
    taken: AtomicU64,
    refused: AtomicU64,
    waiting: AtomicU64,
    remark: Mutex<Option<String>>,
}

/// Names and explanations of the counters.
struct Names {
    taken: [&'static str; 2],
    refused: [&'static str; 2],
    waiting: Option<[&'static str; 2]>,
}

const CONFIGURATION: Names = Names {
    taken: ["harper_config_reloads_total", "Changed configurations taken while running."],
    refused: [
        "harper_config_reload_failures_total",
        "Changed configurations refused because of an error.",
    ],
    waiting: Some([
        "harper_config_waiting_keys",
        "Changed keys that take effect at the next start.",
    ]),
};

const CERTIFICATES: Names = Names {
    taken: ["harper_tls_reloads_total", "Changed certificates taken while running."],
    refused: [
        "harper_tls_reload_failures_total",
        "Changed certificates refused because of an error.",
    ],
    waiting: None,
};

impl Reloads {
    /// Of the configuration.
    #[must_use]
    pub(crate) fn of_configuration() -> Self {
        Self::new(&CONFIGURATION)
    }

    /// Of the certificates.
    #[must_use]
    pub(crate) fn of_certificates() -> Self {
        Self::new(&CERTIFICATES)
    }

    fn new(names: &'static Names) -> Self {
        Self(Arc::new(Inner {
            names,
            taken: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            remark: Mutex::new(None),
        }))
    }

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

    /// What an operator should know; none when all is as written.
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
        let Inner { names, taken, refused, waiting, remark: _ } = &*self.0;
        let value = |count: &AtomicU64| count.load(Relaxed) as f64;
        let mut families = vec![
            counter(names.taken[0], names.taken[1], value(taken)),
            counter(names.refused[0], names.refused[1], value(refused)),
        ];
        families.extend(names.waiting.map(|[name, help]| gauge(name, help, value(waiting))));
        families
    }
}
