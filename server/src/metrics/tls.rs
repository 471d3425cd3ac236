//! What is counted of TLS handshakes.

use super::{Count, Metrics, counter_metric, family};
use prometheus::proto::{MetricFamily, MetricType};

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// The connection is secure.
    Completed,
    /// It took longer than `http.headersTimeout`.
    Timeout,
    /// The client spoke plain HTTP.
    PlainHttp,
    /// The client went away.
    Closed,
    /// The client refused, for it does not trust the certificate, mostly.
    Refused,
    /// No version, suite or signature in common.
    Incompatible,
    /// No application protocol in common.
    Protocol,
    /// The client's certificate is missing, or not one that is trusted.
    Certificate,
    /// What came was no handshake, or a broken one.
    Invalid,
}

const HANDSHAKES: [&str; 9] = [
    "completed",
    "timeout",
    "plain_http",
    "closed",
    "refused",
    "incompatible",
    "protocol",
    "certificate",
    "invalid",
];

/// The versions that are spoken.
const VERSIONS: [&str; 2] = ["1.2", "1.3"];

/// The handshakes of one worker.
#[derive(Default)]
pub(crate) struct TlsMetrics {
    handshakes: [Count; HANDSHAKES.len()],
    /// By version, and whether a session was resumed.
    sessions: [[Count; 2]; VERSIONS.len()],
}

impl TlsMetrics {
    /// Counts one handshake.
    pub(crate) fn handshake(&self, result: Handshake) {
        self.handshakes[result as usize].add(1);
    }

    /// Counts one that has led to a secure connection.
    pub(crate) fn completed(&self, version: &str, is_resumed: bool) {
        self.handshake(Handshake::Completed);
        if let Some(index) = VERSIONS.iter().position(|known| *known == version) {
            self.sessions[index][usize::from(is_resumed)].add(1);
        }
    }
}

impl Metrics {
    /// The handshakes of all workers.
    pub(super) fn tls(&self) -> Vec<MetricFamily> {
        let handshakes = self.labelled_counts(
            "harper_tls_handshakes_total",
            "TLS handshakes, by how they ended.",
            "result",
            &HANDSHAKES,
            |worker, index| worker.tls.handshakes[index].get(),
        );
        vec![handshakes, self.tls_sessions()]
    }

    /// The secure connections of all workers.
    fn tls_sessions(&self) -> MetricFamily {
        let of = |version: usize, resumed: usize| {
            self.sum(|worker| worker.tls.sessions[version][resumed].get())
        };
        let metrics = VERSIONS.iter().enumerate().flat_map(|(version, name)| {
            ["false", "true"].into_iter().enumerate().map(move |(resumed, word)| {
                counter_metric(&[("version", name), ("resumed", word)], of(version, resumed))
            })
        });
        family(
            "harper_tls_sessions_total",
            "Secure connections, by the version of TLS and whether an earlier session was resumed.",
            MetricType::COUNTER,
            metrics.collect(),
        )
    }
}
