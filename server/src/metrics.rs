//! What the server counts. Each worker writes plain counters of its own; one collector sums them when scraped.
//! Nothing on the request path is shared between threads.

mod families;
mod mqtt;
mod realtime;
mod tls;
mod web_socket;

pub(crate) use families::{counter, counter_metric, family, gauge, gauge_metric, histogram};
use mqtt::MqttMetrics;
pub(crate) use mqtt::{LeftOut, MqttTotals, Resumed};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};
use realtime::RealtimeMetrics;
pub(crate) use realtime::{CatchUp, Dropped, Protocol};
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
pub(crate) use tls::Handshake;
use tls::TlsMetrics;
pub(crate) use web_socket::SocketEnd;
use web_socket::WebSocketMetrics;

/// Bounds of the request duration histogram, in seconds (OpenTelemetry's HTTP buckets).
const SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

const METHODS: [&str; 9] =
    ["GET", "HEAD", "QUERY", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "other"];

/// Statuses the server sends, by name; anything else counts as `other`.
const STATUSES: [u16; 30] = [
    200, 201, 204, 206, 301, 302, 304, 400, 401, 403, 404, 405, 406, 408, 409, 412, 413, 414, 415,
    416, 417, 421, 429, 431, 500, 501, 503, 504, 505, 507,
];

/// A counter with one writer: no locked instruction, and readable from any thread.
#[derive(Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds `n`. Only the owning worker may call this.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The value now.
    #[must_use]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A gauge with one writer.
#[derive(Default)]
pub(crate) struct Level(AtomicI64);

impl Level {
    /// Adds `n`, which may be negative. Only the owning worker may call this.
    pub(crate) fn add(&self, n: i64) {
        self.0.store(self.0.load(Relaxed) + n, Relaxed);
    }

    /// The value now.
    #[must_use]
    pub(crate) fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Closed {
    /// The client or both agreed.
    Normal,
    /// Idle for longer than `http.keepAliveTimeout`.
    Idle,
    /// A deadline passed while reading or writing.
    Timeout,
    /// A protocol or socket error.
    Error,
    /// The server is stopping.
    Drain,
}

/// Why a request or a connection was turned away.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rejected {
    /// `http.connectionsMax`.
    Connections,
    /// A user of this machine who may not use the Unix socket.
    SocketUser,
    /// `http.bodyBytesMax`.
    BodyBytes,
    /// `http.bodiesBytesMax`.
    BodiesBytes,
    /// `http.multipartPartsMax`, `http.bodyRecordsMax`, or a body whose JSON would be far larger than itself.
    BodyParts,
    /// `pool.queueMax`.
    PoolQueue,
    /// `authentication.verificationsMax`.
    Logins,
    /// `authentication.throttle.attempts`.
    LoginAttempts,
    /// `authentication.sessionsMax`.
    Sessions,
    /// `storage.queueMax` or `storage.maxTransactionQueueTime`.
    WriteQueue,
    /// `storage.freeBytesMin`.
    FreeSpace,
    /// `query.sortRecordsMax`.
    SortRecords,
    /// `query.scanRecordsMax`.
    ScanRecords,
    /// `query.relatedRecordsMax`.
    RelatedRecords,
    /// `http.maxHeaderSize`, or more header fields or a longer target than any head may have.
    HeaderBytes,
    /// `http.requestQueueLimit`.
    QueueTime,
    /// `http.http2Limits.idleBytesMax`: frames of HTTP/2 that led to nothing.
    Http2IdleBytes,
    /// `http.http2Limits.resetsMax`: requests of HTTP/2 that were taken back.
    Http2Resets,
    /// `http.timeout`, or `operationsApi.network.timeout`, of a stream of HTTP/2.
    Http2Stalled,
    /// `query.heldBytesMax`: a list in MessagePack, or a record with related ones.
    HeldBytes,
    /// `http.rateLimit`.
    RateLimit,
    /// `http.responseTimeout`.
    ResponseTime,
    /// `computed.*`, by a value that an index needs.
    ComputedValue,
    /// `query.valueBytesMax`.
    ValueBytes,
    /// `realtime.subscriptionsMax`.
    Subscriptions,
    /// `mqtt.sessionsMax`.
    MqttSessions,
}

const CLOSED: [&str; 5] = ["normal", "idle", "timeout", "error", "drain"];
const REJECTED: &[&str] = &[
    "connections",
    "socket_user",
    "body_bytes",
    "bodies_bytes",
    "body_parts",
    "pool_queue",
    "logins",
    "login_attempts",
    "sessions",
    "write_queue",
    "free_space",
    "sort_records",
    "scan_records",
    "related_records",
    "header_bytes",
    "queue_time",
    "http2_idle_bytes",
    "http2_resets",
    "http2_stalled",
    "held_bytes",
    "rate_limit",
    "response_time",
    "computed_value",
    "value_bytes",
    "subscriptions",
    "mqtt_sessions",
];

/// The counters of one worker.
#[derive(Default)]
pub(crate) struct WorkerMetrics {
    requests: [[Count; STATUSES.len() + 1]; METHODS.len()],
    durations: [Count; SECONDS.len() + 1],
    duration_nanos: Count,
    closed: [Count; CLOSED.len()],
    rejected: [Count; REJECTED.len()],
    /// TLS handshakes.
    pub tls: TlsMetrics,
    /// Subscriptions.
    pub realtime: RealtimeMetrics,
    /// MQTT.
    pub mqtt: MqttMetrics,
    /// WebSocket.
    pub web_socket: WebSocketMetrics,
    /// Requests being answered.
    pub in_flight: Level,
    /// Open application connections.
    pub connections: Level,
    /// Application connections accepted.
    pub accepted: Count,
    /// Bytes read from application connections.
    pub bytes_received: Count,
    /// Bytes written to application connections.
    pub bytes_sent: Count,
    /// Connections ended by a panic.
    pub panics: Count,
    /// Credentials answered from the cache.
    pub credentials_cached: Count,
    /// Credentials verified anew: passwords by hashing, tokens by their signature.
    pub credentials_verified: Count,
    /// Credentials refused.
    pub credentials_refused: Count,
    /// How late the worker was when it last looked, in nanoseconds.
    pub lag_nanos: AtomicU64,
    /// When the worker last answered, in milliseconds since the process's start.
    pub heartbeat_ms: AtomicU64,
}

impl WorkerMetrics {
    /// Counts one answered request; its method is empty when none was read.
    pub(crate) fn request(&self, method: &str, status: http::StatusCode, took: Duration) {
        let last = METHODS.len() - 1;
        let method = METHODS[..last].iter().position(|name| *name == method).unwrap_or(last);
        let status = STATUSES.binary_search(&status.as_u16()).unwrap_or(STATUSES.len());
        self.requests[method][status].add(1);
        let seconds = took.as_secs_f64();
        let bucket = SECONDS.iter().position(|bound| seconds <= *bound).unwrap_or(SECONDS.len());
        self.durations[bucket].add(1);
        self.duration_nanos.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts one ended connection.
    pub(crate) fn closed(&self, reason: Closed) {
        self.closed[reason as usize].add(1);
    }

    /// Counts something turned away because of a limit.
    pub(crate) fn rejected(&self, reason: Rejected) {
        self.rejected[reason as usize].add(1);
    }
}

/// The workers' counters and the parts of the server that are asked when scraped.
#[derive(Clone, Default)]
pub(crate) struct Metrics {
    workers: Arc<Mutex<Vec<Arc<WorkerMetrics>>>>,
}

impl Metrics {
    /// Counters for one more worker.
    #[must_use]
    pub(crate) fn worker(&self) -> Arc<WorkerMetrics> {
        let metrics = Arc::new(WorkerMetrics::default());
        self.all().push(Arc::clone(&metrics));
        metrics
    }

    /// The counters of every worker.
    #[must_use]
    pub(crate) fn workers(&self) -> Vec<Arc<WorkerMetrics>> {
        self.all().clone()
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Arc<WorkerMetrics>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sum(&self, of: impl Fn(&WorkerMetrics) -> u64) -> f64 {
        self.all().iter().map(|worker| of(worker)).sum::<u64>() as f64
    }

    fn level(&self, of: impl Fn(&WorkerMetrics) -> i64) -> f64 {
        self.all().iter().map(|worker| of(worker)).sum::<i64>() as f64
    }
}

impl Collector for Metrics {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = vec![self.requests(), self.durations()];
        families.extend(self.connections());
        families.push(self.labelled_counts(
            "harper_rejected_total",
            "Requests and connections turned away because of a limit.",
            "reason",
            REJECTED,
            |worker, index| worker.rejected[index].get(),
        ));
        families.extend(self.credentials());
        families.extend(self.tls());
        families.extend(self.realtime());
        families.extend(self.mqtt());
        families.extend(self.web_socket());
        let panics = self.sum(|worker| worker.panics.get());
        families.push(counter(
            "harper_panics_total",
            "Connections ended by a fault of the server.",
            panics,
        ));
        let dropped = crate::telemetry::dropped() as f64;
        families.push(counter(
            "harper_log_lines_dropped_total",
            "Log lines lost because the output did not keep up.",
            dropped,
        ));
        families
    }
}

impl Metrics {
    fn requests(&self) -> MetricFamily {
        let mut totals = HashMap::<(usize, usize), u64>::new();
        for worker in self.all().iter() {
            for (method, row) in worker.requests.iter().enumerate() {
                for (status, count) in row.iter().enumerate().filter(|(_, count)| count.get() > 0) {
                    *totals.entry((method, status)).or_default() += count.get();
                }
            }
        }
        let mut cells: Vec<_> = totals.into_iter().collect();
        cells.sort_unstable();
        let metrics = cells.into_iter().map(|((method, status), total)| {
            let code = STATUSES.get(status).map_or("other".to_owned(), ToString::to_string);
            counter_metric(&[("method", METHODS[method]), ("code", &code)], total as f64)
        });
        family(
            "harper_http_requests_total",
            "Requests answered.",
            MetricType::COUNTER,
            metrics.collect(),
        )
    }

    fn durations(&self) -> MetricFamily {
        let counts: Vec<_> = (0..=SECONDS.len())
            .map(|index| self.sum(|worker| worker.durations[index].get()) as u64)
            .collect();
        histogram(
            "harper_http_request_duration_seconds",
            "Time from a request's head to its answer's head.",
            &SECONDS,
            &counts,
            self.sum(|worker| worker.duration_nanos.get()) / 1e9,
        )
    }

    fn connections(&self) -> Vec<MetricFamily> {
        let bytes = [
            counter_metric(
                &[("direction", "received")],
                self.sum(|worker| worker.bytes_received.get()),
            ),
            counter_metric(&[("direction", "sent")], self.sum(|worker| worker.bytes_sent.get())),
        ];
        vec![
            gauge(
                "harper_http_requests_in_flight",
                "Requests being answered.",
                self.level(|worker| worker.in_flight.get()),
            ),
            gauge(
                "harper_worker_lag_seconds",
                "How late the latest worker is with what is ready.",
                self.lag_seconds(),
            ),
            gauge(
                "harper_connections",
                "Open application connections.",
                self.level(|worker| worker.connections.get()),
            ),
            counter(
                "harper_connections_accepted_total",
                "Application connections accepted.",
                self.sum(|worker| worker.accepted.get()),
            ),
            self.labelled_counts(
                "harper_connections_closed_total",
                "Application connections ended.",
                "reason",
                &CLOSED,
                |worker, index| worker.closed[index].get(),
            ),
            family(
                "harper_bytes_total",
                "Bytes on application connections.",
                MetricType::COUNTER,
                bytes.into(),
            ),
        ]
    }

    fn lag_seconds(&self) -> f64 {
        let workers = self.all();
        workers.iter().map(|worker| worker.lag_nanos.load(Relaxed)).max().unwrap_or(0) as f64 / 1e9
    }

    fn credentials(&self) -> Vec<MetricFamily> {
        vec![
            counter(
                "harper_credentials_cached_total",
                "Credentials answered from the cache.",
                self.sum(|worker| worker.credentials_cached.get()),
            ),
            counter(
                "harper_credentials_verified_total",
                "Credentials verified anew: passwords by hashing, tokens by their signature.",
                self.sum(|worker| worker.credentials_verified.get()),
            ),
            counter(
                "harper_credentials_refused_total",
                "Credentials refused.",
                self.sum(|worker| worker.credentials_refused.get()),
            ),
        ]
    }

    fn labelled_counts(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: &[&str],
        of: impl Fn(&WorkerMetrics, usize) -> u64,
    ) -> MetricFamily {
        let metrics = values.iter().enumerate().map(|(index, value)| {
            counter_metric(&[(label, value)], self.sum(|worker| of(worker, index)))
        });
        family(name, help, MetricType::COUNTER, metrics.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_summed_when_scraped() {
        let metrics = Metrics::default();
        for _ in 0..2 {
            let worker = metrics.worker();
            worker.request("GET", http::StatusCode::OK, Duration::from_millis(7));
            worker.rejected(Rejected::BodyBytes);
        }
        let text = prometheus::TextEncoder::new().encode_to_string(&metrics.collect()).unwrap();
        assert!(
            text.contains(r#"harper_http_requests_total{code="200",method="GET"} 2"#)
                || text.contains(r#"harper_http_requests_total{method="GET",code="200"} 2"#),
            "{text}"
        );
        assert!(
            text.contains(r#"harper_http_request_duration_seconds_bucket{le="0.01"} 2"#),
            "{text}"
        );
        assert!(
            text.contains(r#"harper_http_request_duration_seconds_bucket{le="0.005"} 0"#),
            "{text}"
        );
        assert!(text.contains(r#"harper_rejected_total{reason="body_bytes"} 2"#), "{text}");
    }

    #[test]
    fn the_statuses_are_in_order_for_the_search() {
        assert!(STATUSES.is_sorted());
        assert!(
            crate::error::Code::ALL.iter().all(|code| STATUSES.contains(&code.row().1.as_u16()))
        );
    }
}
