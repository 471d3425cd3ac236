//! What is counted of TLS handshakes.

use super::{Count, Metrics};
use prometheus::proto::MetricFamily;

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

/// The handshakes of one worker.
#[derive(Default)]
pub(crate) struct TlsMetrics {
    handshakes: [Count; HANDSHAKES.len()],
}

impl TlsMetrics {
    /// Counts one handshake.
    pub(crate) fn handshake(&self, result: Handshake) {
        self.handshakes[result as usize].add(1);
    }
}

impl Metrics {
    /// The handshakes of all workers.
    pub(super) fn tls(&self) -> Vec<MetricFamily> {
        vec![self.labelled_counts(
            "harper_tls_handshakes_total",
            "TLS handshakes, by how they ended.",
            "result",
            &HANDSHAKES,
            |worker, index| worker.tls.handshakes[index].get(),
        )]
    }
}
