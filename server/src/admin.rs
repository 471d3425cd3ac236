//! The admin listener: `/metrics`, `/livez`, `/readyz`, `/startupz`, on its own thread, so that a stuck worker is
//! visible from outside.

use crate::health::{Check, Health};
use crate::metrics::{Metrics, counter_metric, family, gauge_metric};
use crate::otlp;
use crate::pool::Pool;
use bytes::Bytes;
use harper_store::{DatabaseStats, Store};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::TextEncoder;
use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Metric, MetricFamily, MetricType};
use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{LocalSet, spawn_local};

/// Connections served at once; more wait.
const CONNECTIONS_MAX: usize = 64;
/// Time for a request's head, and for an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a whole connection: one that does not read its answers must not keep its place from a probe.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// What the admin listener reports.
pub(crate) struct Admin {
    /// The probes.
    pub health: Arc<Health>,
    /// Everything that is counted.
    pub sources: Sources,
}

/// Everything that is counted, each part asked when scraped.
pub(crate) struct Sources(Vec<Box<dyn Collector>>);

impl Sources {
    /// The workers, the store, the pool, and the process itself.
    pub(crate) fn new(metrics: Metrics, store: Store, pool: Pool) -> Self {
        let process = ProcessCollector::for_self();
        Self(vec![Box::new(metrics), Box::new(Parts { store, pool }), Box::new(process)])
    }

    /// One more part.
    #[must_use]
    pub(crate) fn with(mut self, source: impl Collector + 'static) -> Self {
        self.0.push(Box::new(source));
        self
    }

    /// The page of `/metrics`. A family without a value yet is left out.
    fn page(&self) -> prometheus::Result<String> {
        let mut families: Vec<_> = self.0.iter().flat_map(|source| source.collect()).collect();
        families.retain(|family| !family.get_metric().is_empty());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        TextEncoder::new().encode_to_string(&families)
    }
}

/// Starts the thread of the admin listener.
///
/// # Errors
/// The system's refusal of a thread.
pub(crate) fn start(admin: Admin, socket: Arc<std::net::TcpListener>) -> io::Result<()> {
    std::thread::Builder::new().name("admin".into()).spawn(move || {
        if let Err(error) = run(admin, &socket) {
            tracing::error!(%error, "the admin listener could not start");
        }
    })?;
    Ok(())
}

fn run(admin: Admin, socket: &std::net::TcpListener) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::from_std(socket.try_clone()?)?;
        let admin = Rc::new(admin);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            // the semaphore is never closed
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let admin = Rc::clone(&admin);
            spawn_local(async move {
                let _place = place;
                let service = service_fn(move |request| {
                    let response = respond(&admin, &request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
                // a probe that breaks off is no news
                let served = builder.serve_connection(TokioIo::new(stream), service);
                let _ = tokio::time::timeout(CONNECTION_TIMEOUT, served).await;
            });
        }
    })
}

fn respond<B>(admin: &Admin, request: &Request<B>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n".into());
    }
    let verbose =
        request.uri().query().is_some_and(|query| query.split('&').any(|word| word == "verbose"));
    match request.uri().path() {
        "/metrics" => metrics(admin),
        "/livez" => report(&admin.health.live(), verbose),
        "/readyz" => report(&admin.health.ready(), verbose),
        "/startupz" => report(&admin.health.startup(), verbose),
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /metrics, /livez, /readyz and /startupz\n".into(),
        ),
    }
}

fn metrics(admin: &Admin) -> Response<Full<Bytes>> {
    match admin.sources.page() {
        Ok(page) => text(StatusCode::OK, page),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// `ok`, or the list of checks when asked for it or when there is something to say.
fn report(checks: &[Check], verbose: bool) -> Response<Full<Bytes>> {
    let is_good = checks.iter().all(|check| check.fault.is_none());
    let status = if is_good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let is_silent = checks.iter().all(|check| check.remark.is_none());
    if is_good && is_silent && !verbose {
        return text(status, "ok\n".into());
    }
    let mut page = String::new();
    for Check { name, fault, remark } in checks {
        // writing to a string cannot fail
        let _ = match (fault, remark) {
            (None, None) => writeln!(page, "[+] {name} ok"),
            (None, Some(remark)) => writeln!(page, "[+] {name} ok, but: {remark}"),
            (Some(fault), _) => writeln!(page, "[-] {name} failed: {fault}"),
        };
    }
    text(status, page)
}

fn text(status: StatusCode, page: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(page));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The store and the pool, asked when scraped.
struct Parts {
    store: Store,
    pool: Pool,
}

impl Collector for Parts {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        use crate::metrics::{counter, gauge};
        let mut families = vec![gauge(
            "harper_pool_queue",
            "Blocking work that waits for a thread.",
            self.pool.waiting() as f64,
        )];
        families.push(counter(
            "harper_otlp_exported_total",
            "Spans that the collector of traces has taken.",
            otlp::exported() as f64,
        ));
        families.push(counter(
            "harper_otlp_dropped_total",
            "Spans lost because the queue was full or the collector did not take them.",
            otlp::dropped() as f64,
        ));
        let version = gauge_metric(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        families.push(family(
            "harper_build_info",
            "The program.",
            MetricType::GAUGE,
            vec![version],
        ));
        let stats = self.store.stats();
        families.extend(
            STORE_COUNTERS
                .iter()
                .map(|row| store_family(row, MetricType::COUNTER, counter_metric, &stats)),
        );
        families.extend(
            STORE_GAUGES
                .iter()
                .map(|row| store_family(row, MetricType::GAUGE, gauge_metric, &stats)),
        );
        families
    }
}

type Row = (&'static str, &'static str, fn(&DatabaseStats) -> f64);
type Make = fn(&[(&str, &str)], f64) -> Metric;

fn store_family(row: &Row, kind: MetricType, make: Make, stats: &[DatabaseStats]) -> MetricFamily {
    let (name, help, of) = row;
    let metrics = stats.iter().map(|stats| make(&[("database", &stats.name)], of(stats)));
    family(name, help, kind, metrics.collect())
}

const STORE_COUNTERS: &[Row] = &[
    (
        "harper_store_commits_total",
        "Transactions committed, each with one sync of the disk.",
        |s| s.commits as f64,
    ),
    ("harper_store_commit_seconds_total", "Time spent committing.", |s| s.commit_seconds),
    ("harper_store_requests_total", "Write requests answered.", |s| s.requests as f64),
    ("harper_store_operations_total", "Records written or deleted.", |s| s.operations as f64),
    ("harper_store_conflicts_total", "Writes refused because of a condition.", |s| {
        s.conflicts as f64
    }),
    ("harper_store_expired_total", "Records removed because they had expired.", |s| {
        s.expired as f64
    }),
    ("harper_store_rejected_full_total", "Writes refused because the queue was full.", |s| {
        s.rejected_full as f64
    }),
    (
        "harper_store_rejected_no_space_total",
        "Writes refused because the volume was nearly full.",
        |s| s.rejected_no_space as f64,
    ),
    (
        "harper_store_rejected_side_full_total",
        "Writes refused because the state kept beside the tables had reached its limit.",
        |s| s.rejected_side_full as f64,
    ),
];
const STORE_GAUGES: &[Row] = &[
    ("harper_store_tables", "Tables defined.", |s| s.tables as f64),
    ("harper_store_queue", "Write requests that wait.", |s| s.queue_length as f64),
    ("harper_store_map_bytes", "Bytes of the map in use.", |s| s.map_bytes_used as f64),
    ("harper_store_map_bytes_max", "Bytes the map can hold.", |s| s.map_bytes_max as f64),
    ("harper_store_disk_bytes", "Size of the file.", |s| s.disk_bytes as f64),
    ("harper_store_change_log_bytes", "Size of the change log.", |s| s.log_bytes as f64),
    ("harper_store_side_bytes", "Size of the state kept beside the tables.", |s| {
        s.side_bytes as f64
    }),
    ("harper_store_readers_peak", "Most snapshots open at once.", |s| f64::from(s.readers_peak)),
];
