//! What makes the values of computed attributes: expressions in JavaScript, evaluated where they are needed, each
//! thread with an engine of its own. One that fails has the value null; one that breaks a limit has none, since it may
//! have one the next time. Both are counted, and told now and then.

use crate::metrics;
use arc_swap::ArcSwap;
use harper_script::Limits;
use harper_store::{Computed, Evaluate, Evaluator, NoValue};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Failures are told at most once in this time.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// An engine without this much memory cannot do anything.
const HEAP_BYTES_MIN: usize = 1 << 20;

/// Evaluates expressions and counts those that fail.
#[derive(Clone)]
pub(crate) struct Expressions(Arc<Inner>);

struct Inner {
    limits: ArcSwap<Limits>,
    started: Instant,
    failed: AtomicU64,
    /// Milliseconds after `started` from which on a failure is told again.
    told_from_ms: AtomicU64,
}

impl Expressions {
    /// Nothing has failed yet.
    #[must_use]
    pub(crate) fn new(limits: &harper_config::Computed) -> Self {
        let limits = ArcSwap::from_pointee(limits_of(limits));
        let (failed, told_from_ms) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Inner { limits, started: Instant::now(), failed, told_from_ms }))
    }

    /// Evaluates within other limits from now on.
    pub(crate) fn set_limits(&self, limits: &harper_config::Computed) {
        self.0.limits.store(Arc::new(limits_of(limits)));
    }

    /// For the store.
    #[must_use]
    pub(crate) fn evaluator(&self) -> Evaluator {
        Evaluator::new(Arc::new(self.clone()))
    }

    fn note(&self, expression: &str, error: &harper_script::Error) {
        let Inner { limits: _, started, failed, told_from_ms } = &*self.0;
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

fn limits_of(configured: &harper_config::Computed) -> Limits {
    let harper_config::Computed { cpu_time_max, heap_bytes_max, result_bytes_max, pause } =
        *configured;
    let heap_bytes_max = heap_bytes_max.max(HEAP_BYTES_MIN);
    Limits { cpu_time_max, heap_bytes_max, result_bytes_max, pause }
}

impl Collector for Expressions {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        vec![metrics::counter(
            "harper_computed_failed_total",
            "Evaluations of computed attributes that failed: they gave null, or nothing where a limit was broken.",
            self.0.failed.load(Relaxed) as f64,
        )]
    }
}

impl Evaluate for Expressions {
    fn evaluate(&self, computed: &Computed, record: &str) -> Result<String, NoValue> {
        let limits = **self.0.limits.load();
        harper_script::evaluate(&computed.from, &computed.names, record, limits).or_else(|error| {
            self.note(&computed.from, &error);
            if error.is_lasting() {
                Ok(String::from("null"))
            } else {
                Err(NoValue(error.to_string()))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(cpu_ms_max: u64) -> harper_config::Computed {
        let (cpu_time_max, pause) = (Duration::from_millis(cpu_ms_max), Duration::ZERO);
        harper_config::Computed {
            cpu_time_max,
            heap_bytes_max: 16 << 20,
            result_bytes_max: 64 << 10,
            pause,
        }
    }

    fn computed(from: &str) -> Computed {
        Computed::new(from.into(), String::new(), vec!["a".into()])
    }

    #[test]
    fn a_failing_expression_is_null_and_counted() {
        let expressions = Expressions::new(&limits(1000));
        let value = |from| expressions.evaluate(&computed(from), r#"{"a":1}"#).unwrap();
        assert_eq!(value("a + 1"), "2");
        assert_eq!(expressions.0.failed.load(Relaxed), 0);
        assert_eq!(value("a.b.c"), "null");
        assert_eq!(expressions.0.failed.load(Relaxed), 1);
    }

    #[test]
    fn one_that_breaks_a_limit_has_no_value_and_limits_can_change() {
        let expressions = Expressions::new(&limits(5));
        let slow = computed("(() => { for (let n = 0; n < 3e6; n++); return 1 })()");
        let error = expressions.evaluate(&slow, "{}").unwrap_err();
        assert_eq!(error.0, "it took more than 5 ms of processor time");
        expressions.set_limits(&limits(60_000));
        assert_eq!(expressions.evaluate(&slow, "{}").unwrap(), "1");
        let tight = harper_config::Computed { heap_bytes_max: 0, ..limits(60_000) };
        expressions.set_limits(&tight);
        assert_eq!(expressions.evaluate(&computed("a + 1"), r#"{"a":1}"#).unwrap(), "2");
        let large = computed("'x'.repeat(8 << 20).length");
        let error = expressions.evaluate(&large, "{}").unwrap_err();
        assert_eq!(error.0, "it needs more than 1048576 bytes of memory");
    }
}
