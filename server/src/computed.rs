//! What makes the values of computed attributes: expressions in JavaScript, evaluated where they are needed, each
//! thread with an engine of its own. One that fails has the value null; that is counted, and told now and then.

use crate::metrics;
use harper_script::Limits;
use harper_store::{Computed, Evaluate, Evaluator};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Failures are told at most once in this time.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Evaluates expressions and counts those that fail.
#[derive(Clone)]
pub(crate) struct Expressions(Arc<Inner>);

struct Inner {
    started: Instant,
    failed: AtomicU64,
    /// Milliseconds after `started` from which on a failure is told again.
    told_from_ms: AtomicU64,
}

impl Expressions {
    /// Nothing has failed yet.
    #[must_use]
    pub(crate) fn new() -> Self {
        let (failed, told_from_ms) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Inner { started: Instant::now(), failed, told_from_ms }))
    }

    /// For the store.
    #[must_use]
    pub(crate) fn evaluator(&self) -> Evaluator {
        Evaluator::new(Arc::new(self.clone()))
    }

    fn note(&self, expression: &str, error: &harper_script::Error) {
        let Inner { started, failed, told_from_ms } = &*self.0;
        failed.fetch_add(1, Relaxed);
        let now = started.elapsed();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let due = told_from_ms.load(Relaxed);
        let next = ms(now.saturating_add(TOLD_EVERY));
        let is_due = ms(now) >= due;
        if is_due && told_from_ms.compare_exchange(due, next, Relaxed, Relaxed).is_ok() {
            tracing::warn!(%error, expression, "a computed attribute has no value");
        }
    }
}

impl Collector for Expressions {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        vec![metrics::counter(
            "harper_computed_failed_total",
            "Evaluations of computed attributes that failed and gave null.",
            self.0.failed.load(Relaxed) as f64,
        )]
    }
}

impl Evaluate for Expressions {
    fn evaluate(&self, computed: &Computed, record: &str) -> String {
        let value =
            harper_script::evaluate(&computed.from, &computed.names, record, Limits::default());
        value.unwrap_or_else(|error| {
            self.note(&computed.from, &error);
            String::from("null")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_expression_is_null_and_counted() {
        let expressions = Expressions::new();
        let of = |from: &str| Computed::new(from.into(), String::new(), vec!["a".into()]);
        assert_eq!(expressions.evaluate(&of("a + 1"), r#"{"a":1}"#), "2");
        assert_eq!(expressions.0.failed.load(Relaxed), 0);
        assert_eq!(expressions.evaluate(&of("a.b.c"), r#"{"a":1}"#), "null");
        assert_eq!(expressions.0.failed.load(Relaxed), 1);
    }
}
