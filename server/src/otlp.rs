//! Traces for a collector: OTLP over HTTP with protobuf (OpenTelemetry protocol 1), from a bounded queue on a thread of
//! its own. A collector that is slow or away costs spans, which are counted, and nothing else.

mod messages;
mod post;
mod span;

pub(crate) use span::Span;

use harper_config::{Otlp, Telemetry};
use post::Collector;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::{Instant, timeout_at};

/// Spans sent in one message.
const BATCH_MAX: usize = 512;
/// How long a span waits for others to be sent with.
const LINGER: Duration = Duration::from_secs(1);
/// Time for the last spans to be sent at the end.
const END_WITHIN: Duration = Duration::from_secs(2);

/// Where spans are queued; none while nothing is exported.
static QUEUE: OnceLock<mpsc::Sender<Span>> = OnceLock::new();
static EXPORTED: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Spans that a collector has taken, since the start of the process.
#[must_use]
pub(crate) fn exported() -> u64 {
    EXPORTED.load(Ordering::Relaxed)
}

/// Spans that were lost: the queue was full, or the collector did not take them.
#[must_use]
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Queues a span; never waits.
pub(crate) fn export(span: Span) {
    if let Some(queue) = QUEUE.get()
        && queue.try_send(span).is_err()
    {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Starts the export where the configuration has a collector. A second call has no effect.
///
/// # Errors
/// The system's refusal of a thread, or certificates of authorities that cannot be read.
pub(crate) fn start(config: &Telemetry) -> std::io::Result<Guard> {
    let (end, ended) = watch::channel(false);
    let Some(otlp) = config.otlp.clone() else { return Ok(Guard { end, thread: None }) };
    let (queue, spans) = mpsc::channel(otlp.queue_max);
    if QUEUE.set(queue).is_err() {
        return Ok(Guard { end, thread: None });
    }
    let collector = Collector::new(&otlp)?;
    let resource = messages::Resource::new(config);
    let exporter = Exporter { spans, ended, collector, resource, otlp, is_failing: false };
    let thread = std::thread::Builder::new().name("otlp".into()).spawn(move || {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => LocalSet::new().block_on(&runtime, exporter.run()),
            Err(error) => tracing::error!(%error, "traces cannot be exported"),
        }
    })?;
    Ok(Guard { end, thread: Some(thread) })
}

/// Ends the export when dropped, after what is queued has been sent, if the collector takes it soon.
pub(crate) struct Guard {
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end.send_replace(true);
        let Some(thread) = self.thread.take() else { return };
        let deadline = std::time::Instant::now() + END_WITHIN;
        while std::time::Instant::now() < deadline && !thread.is_finished() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

struct Exporter {
    spans: mpsc::Receiver<Span>,
    ended: watch::Receiver<bool>,
    collector: Collector,
    resource: messages::Resource,
    otlp: Otlp,
    is_failing: bool,
}

impl Exporter {
    /// Sends what is queued until the process ends.
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while self.gather(&mut batch).await {
            self.send(&mut batch).await;
        }
        while let Ok(span) = self.spans.try_recv() {
            batch.push(span);
        }
        self.send(&mut batch).await;
    }

    /// Waits for spans; false at the end.
    async fn gather(&mut self, batch: &mut Vec<Span>) -> bool {
        let mut deadline: Option<Instant> = None;
        loop {
            let room = BATCH_MAX - batch.len();
            let more = self.spans.recv_many(batch, room);
            let more = async {
                match deadline {
                    Some(deadline) => timeout_at(deadline, more).await.is_ok(),
                    None => more.await > 0,
                }
            };
            let goes_on = tokio::select! {
                goes_on = more => goes_on,
                _ = self.ended.wait_for(|ended| *ended) => return false,
            };
            deadline.get_or_insert_with(|| Instant::now() + LINGER);
            if !goes_on || batch.len() == BATCH_MAX {
                return true;
            }
        }
    }

    async fn send(&mut self, batch: &mut Vec<Span>) {
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        let message = messages::request(&self.resource, batch.drain(..));
        let result = self.collector.post(message, self.otlp.timeout).await;
        if let (Err(error), false) = (&result, self.is_failing) {
            tracing::warn!(%error, "traces could not be exported; they are dropped until that changes");
        }
        self.is_failing = result.is_err();
        let taken = result.map_or(0, |refused| count.saturating_sub(refused));
        EXPORTED.fetch_add(taken, Ordering::Relaxed);
        DROPPED.fetch_add(count - taken, Ordering::Relaxed);
    }
}
