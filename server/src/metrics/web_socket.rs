//! What is counted of WebSocket. What subscribers are told is counted with that of all protocols.

use super::{Count, Level, Metrics, counter_metric, family, gauge};
use prometheus::proto::{MetricFamily, MetricType};

/// How a socket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketEnd {
    /// The client closed.
    Client,
    /// The server closed.
    Server,
    /// The client broke the protocol, or a limit.
    Violation,
    /// The client gave no sign of life.
    Timeout,
    /// The connection broke.
    Gone,
}

const ENDS: [&str; 5] = ["client", "server", "violation", "timeout", "gone"];

/// The counters of one worker.
#[derive(Default)]
pub(crate) struct WebSocketMetrics {
    open: Level,
    ends: [Count; ENDS.len()],
    messages_received: Count,
    messages_sent: Count,
    bytes_received: Count,
    bytes_sent: Count,
}

impl WebSocketMetrics {
    /// A socket was opened.
    pub(crate) fn opened(&self) {
        self.open.add(1);
    }

    /// One has ended.
    pub(crate) fn closed(&self, end: SocketEnd) {
        self.open.add(-1);
        self.ends[end as usize].add(1);
    }

    /// A message came, decompressed.
    pub(crate) fn received(&self, bytes: usize) {
        self.messages_received.add(1);
        self.bytes_received.add(bytes as u64);
    }

    /// A message went, as a frame.
    pub(crate) fn sent(&self, bytes: usize) {
        self.messages_sent.add(1);
        self.bytes_sent.add(bytes as u64);
    }
}

impl Metrics {
    /// WebSocket on all workers.
    pub(super) fn web_socket(&self) -> Vec<MetricFamily> {
        let open = self.level(|worker| worker.web_socket.open.get());
        let both = |received: fn(&WebSocketMetrics) -> &Count,
                    sent: fn(&WebSocketMetrics) -> &Count| {
            let ways = [("received", received), ("sent", sent)];
            let metrics = ways.map(|(direction, count)| {
                let value = self.sum(|worker| count(&worker.web_socket).get());
                counter_metric(&[("direction", direction)], value)
            });
            metrics.to_vec()
        };
        let messages = both(|counts| &counts.messages_received, |counts| &counts.messages_sent);
        let bytes = both(|counts| &counts.bytes_received, |counts| &counts.bytes_sent);
        vec![
            gauge("harper_websocket_open", "Open WebSockets.", open),
            family(
                "harper_websocket_messages_total",
                "Messages over WebSocket, those that carry MQTT included.",
                MetricType::COUNTER,
                messages,
            ),
            family(
                "harper_websocket_bytes_total",
                "Bytes of these messages: what clients send decompressed, what they are sent as frames.",
                MetricType::COUNTER,
                bytes,
            ),
            self.labelled_counts(
                "harper_websocket_closed_total",
                "WebSockets that have ended, by who or what ended them.",
                "by",
                &ENDS,
                |worker, index| worker.web_socket.ends[index].get(),
            ),
        ]
    }
}
