//! What is told of the certificates in use.

use super::{Followed, Generation};
use crate::metrics::{family, gauge_metric};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};
use std::time::{SystemTime, UNIX_EPOCH};

impl Collector for Followed {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.reloads.collect();
        families.push(not_after(&self.current.load()));
        families.extend(
            self.inquiries.get().map(|inquiries| inquiries.collect()).into_iter().flatten(),
        );
        families
    }
}

/// When each certificate expires.
fn not_after(generation: &Generation) -> MetricFamily {
    let metrics = generation.entries().map(|entry| {
        let name = entry.certificate.names.first().map_or("", String::as_str);
        let labels = [("entry", entry.key.as_str()), ("name", name)];
        gauge_metric(&labels, seconds(entry.certificate.not_after))
    });
    family(
        "harper_tls_certificate_not_after_timestamp_seconds",
        "When a certificate in use expires.",
        MetricType::GAUGE,
        metrics.collect(),
    )
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
