//! What is counted of questions to authorities. Their thread is the one writer.

use super::{Found, Source};
use crate::metrics::{Count, Level, counter_metric, family, gauge_metric};
use prometheus::proto::{MetricFamily, MetricType};
use std::sync::Arc;

const SOURCES: [&str; 4] = ["crl", "ocsp", "none", "file"];
const FOUND: [&str; 4] = ["good", "revoked", "unknown", "forged"];

/// The counters of the thread.
#[derive(Default)]
pub(super) struct Counts {
    judged: [[Count; FOUND.len()]; SOURCES.len()],
    /// Those that failed, those that told something; of lists and of OCSP.
    fetched: [[Count; 2]; 2],
    /// Lists that are remembered.
    pub(super) lists: Arc<Level>,
    /// Answers of OCSP that are remembered.
    pub(super) answers: Arc<Level>,
}

impl Counts {
    /// Counts what was said of a certificate.
    pub(super) fn judged(&self, source: Source, found: Found) {
        self.judged[source as usize][found as usize].add(1);
    }

    /// Counts a question that went over the network.
    pub(super) fn fetched(&self, source: Source, is_told: bool) {
        if let Some(counts) = self.fetched.get(source as usize) {
            counts[usize::from(is_told)].add(1);
        }
    }

    /// All of them.
    #[must_use]
    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        let judged = SOURCES.iter().zip(&self.judged).flat_map(|(source, counts)| {
            FOUND.iter().zip(counts).map(|(found, count)| {
                counter_metric(&[("source", source), ("result", found)], count.get() as f64)
            })
        });
        let fetched = SOURCES.iter().zip(&self.fetched).flat_map(|(source, counts)| {
            ["failed", "told"].into_iter().zip(counts).map(|(result, count)| {
                counter_metric(&[("source", source), ("result", result)], count.get() as f64)
            })
        });
        let kept = SOURCES.iter().zip([&self.lists, &self.answers]);
        let kept =
            kept.map(|(source, level)| gauge_metric(&[("source", source)], level.get() as f64));
        vec![
            family(
                "harper_tls_revocation_answers_total",
                "What was found out about certificates of clients, and by what.",
                MetricType::COUNTER,
                judged.collect(),
            ),
            family(
                "harper_tls_revocation_fetches_total",
                "Revocation lists and OCSP answers asked for over the network.",
                MetricType::COUNTER,
                fetched.collect(),
            ),
            family(
                "harper_tls_revocation_cached",
                "Revocation lists and OCSP answers that are remembered.",
                MetricType::GAUGE,
                kept.collect(),
            ),
        ]
    }
}
