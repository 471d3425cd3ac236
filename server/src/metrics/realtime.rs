//! What is counted of subscriptions, on whichever protocol they came.

use super::{Count, Level, Metrics, counter, family, gauge, gauge_metric, histogram};
use prometheus::proto::{MetricFamily, MetricType};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Bounds of the histogram of latencies, in seconds.
const SECONDS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// What a connection that has subscribed speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Server-Sent Events.
    EventStream,
    /// WebSocket.
    WebSocket,
    /// MQTT, on whatever it is carried.
    Mqtt,
}

const PROTOCOLS: [&str; 3] = ["sse", "websocket", "mqtt"];

/// Why a message that is in no log was lost to a subscriber.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dropped {
    /// `realtime.outboxBytesMax` of its connection.
    Outbox,
    /// `realtime.inboxBytesMax` of its worker.
    Inbox,
    /// The subscriber was not yet done with what came before.
    Reading,
}

const DROPPED: [&str; 3] = ["outbox", "inbox", "reading"];

/// Who had to go back to the change log.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CatchUp {
    /// One subscription, whose connection did not keep up.
    Subscription,
    /// All of a table on a worker, which did not keep up.
    Table,
}

const CATCH_UPS: [&str; 2] = ["subscription", "table"];

/// The counters of one worker.
#[derive(Default)]
pub(crate) struct RealtimeMetrics {
    subscriptions: [Level; PROTOCOLS.len()],
    delivered: [Count; PROTOCOLS.len()],
    dropped: [Count; DROPPED.len()],
    catch_ups: [Count; CATCH_UPS.len()],
    /// Subscriptions that had to begin anew, since the log did not reach back.
    pub resets: Count,
    outbox_bytes_peak: AtomicU64,
    latencies: [Count; SECONDS.len() + 1],
    latency_nanos: Count,
}

impl RealtimeMetrics {
    /// Counts `more` subscriptions, which may be negative.
    pub(crate) fn subscribed(&self, protocol: Protocol, more: i64) {
        self.subscriptions[protocol as usize].add(more);
    }

    /// Open subscriptions.
    pub(crate) fn subscriptions_of(&self, protocol: Protocol) -> u64 {
        u64::try_from(self.subscriptions[protocol as usize].get()).unwrap_or(0)
    }

    /// Counts one event that a connection has taken, and the time since its commit if it has just been.
    pub(crate) fn delivered(&self, protocol: Protocol, latency: Option<Duration>) {
        self.delivered[protocol as usize].add(1);
        let Some(latency) = latency else { return };
        let seconds = latency.as_secs_f64();
        let bucket = SECONDS.iter().position(|bound| seconds <= *bound).unwrap_or(SECONDS.len());
        self.latencies[bucket].add(1);
        self.latency_nanos.add(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts messages that a subscriber, or all of a worker, did not get.
    pub(crate) fn dropped(&self, reason: Dropped, count: u64) {
        self.dropped[reason as usize].add(count);
    }

    /// Counts one return to the change log.
    pub(crate) fn caught_up(&self, who: CatchUp) {
        self.catch_ups[who as usize].add(1);
    }

    /// Notes how much one outbox holds.
    pub(crate) fn held(&self, bytes: usize) {
        let bytes = bytes as u64;
        if bytes > self.outbox_bytes_peak.load(Relaxed) {
            self.outbox_bytes_peak.store(bytes, Relaxed);
        }
    }
}

impl Metrics {
    /// The families of all workers' subscriptions.
    pub(super) fn realtime(&self) -> Vec<MetricFamily> {
        let subscriptions = PROTOCOLS.iter().enumerate().map(|(at, protocol)| {
            let count = self.level(|worker| worker.realtime.subscriptions[at].get());
            gauge_metric(&[("protocol", protocol)], count)
        });
        let workers = self.workers();
        let peak = workers.iter().map(|worker| worker.realtime.outbox_bytes_peak.load(Relaxed));
        let latencies: Vec<_> = (0..=SECONDS.len())
            .map(|at| self.sum(|worker| worker.realtime.latencies[at].get()) as u64)
            .collect();
        vec![
            family(
                "harper_realtime_subscriptions",
                "Open subscriptions.",
                MetricType::GAUGE,
                subscriptions.collect(),
            ),
            self.labelled_counts(
                "harper_realtime_events_delivered_total",
                "Events handed to connections.",
                "protocol",
                &PROTOCOLS,
                |worker, at| worker.realtime.delivered[at].get(),
            ),
            self.labelled_counts(
                "harper_realtime_messages_dropped_total",
                "Messages in no log that a subscriber did not get because of a limit.",
                "reason",
                &DROPPED,
                |worker, at| worker.realtime.dropped[at].get(),
            ),
            self.labelled_counts(
                "harper_realtime_catch_ups_total",
                "Returns to the change log, of single subscriptions or of all of a table on a worker.",
                "scope",
                &CATCH_UPS,
                |worker, at| worker.realtime.catch_ups[at].get(),
            ),
            counter(
                "harper_realtime_resets_total",
                "Subscriptions that began anew because the change log did not reach back.",
                self.sum(|worker| worker.realtime.resets.get()),
            ),
            gauge(
                "harper_realtime_outbox_bytes_peak",
                "Most bytes that ever waited for one connection.",
                peak.max().unwrap_or(0) as f64,
            ),
            histogram(
                "harper_realtime_delivery_seconds",
                "Time from a commit until its event is handed to a connection.",
                &SECONDS,
                &latencies,
                self.sum(|worker| worker.realtime.latency_nanos.get()) / 1e9,
            ),
        ]
    }
}
