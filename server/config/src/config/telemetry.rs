//! `telemetry.*`: what is told to other systems.

use super::Reader;
use std::time::Duration;

/// Traces and who they are of.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// The name of this service.
    pub service_name: String,
    /// More that is told of it.
    pub attributes: Vec<(String, String)>,
    /// Share of the traces that begin here which is recorded, from 0 to 1.
    pub sample_ratio: f64,
    /// Where traces are sent; none when they are not.
    pub otlp: Option<Otlp>,
}

/// A collector of traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// Its URL, with the path.
    pub endpoint: String,
    /// Headers of each request to it, which may be secrets.
    pub headers: Vec<(String, String)>,
    /// Spans that may wait.
    pub queue_max: usize,
    /// Time for one request to it.
    pub timeout: Duration,
}

impl Reader<'_> {
    pub(super) fn telemetry(&self) -> Telemetry {
        let endpoint = with_path(self.text("telemetry.otlp.endpoint"));
        let otlp = Otlp {
            headers: self.pairs("telemetry.otlp.headers"),
            queue_max: self.size("telemetry.otlp.queueMax"),
            timeout: self.millis("telemetry.otlp.timeout"),
            endpoint,
        };
        Telemetry {
            service_name: self.text("telemetry.serviceName"),
            attributes: self.pairs("telemetry.attributes"),
            sample_ratio: self.value("telemetry.sampleRatio").as_f64().unwrap_or_default(),
            otlp: Some(otlp).filter(|otlp| !otlp.endpoint.is_empty()),
        }
    }

    /// The pairs of a list of `name=value`.
    fn pairs(&self, name: &str) -> Vec<(String, String)> {
        let items = self.list(name).unwrap_or_default();
        let pairs = items.iter().filter_map(|item| item.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// The URL with the path that collectors expect, unless it has one (OTLP/HTTP, "Default URL path").
fn with_path(url: String) -> String {
    let host = url.split_once("://").map_or("", |(_, rest)| rest);
    match host.split_once('/') {
        _ if host.is_empty() => url,
        None => url + "/v1/traces",
        Some((_, "")) => url + "v1/traces",
        Some(_) => url,
    }
}

#[cfg(test)]
mod tests {
    use super::with_path;

    #[test]
    fn a_url_without_a_path_gets_the_usual_one() {
        for (written, used) in [
            ("http://a:4318", "http://a:4318/v1/traces"),
            ("https://a/", "https://a/v1/traces"),
            ("https://a/otlp/x", "https://a/otlp/x"),
            ("", ""),
        ] {
            assert_eq!(with_path(written.into()), used);
        }
    }
}
