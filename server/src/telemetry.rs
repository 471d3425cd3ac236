//! The log: one line each on standard output, in Harper's text form or as JSON.
//!
//! Lines go through a bounded queue to a thread of their own, so that a slow reader of the output never holds up
//! a worker; when the queue is full, lines are dropped and counted.

use crossbeam_channel::{Sender, bounded};
use std::fmt;
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::{
    self, Format, FormatEvent, FormatFields, Json, JsonFields, Writer,
};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Lines that may wait for the output.
const QUEUE_LINES_MAX: usize = 8192;

/// Time for the queued lines to be taken at the end.
const END_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

/// Lines dropped because the queue was full, since the start of the process.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The levels that `logging.level` names, from the fewest lines to the most.
const LEVELS: [LevelFilter; 5] = [
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

/// The level now: its place in [`LEVELS`].
static LEVEL: AtomicUsize = AtomicUsize::new(1);

/// Whether lines are JSON now.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Target of lines that are written at any level: what a person must see.
pub(crate) const NOTIFY: &str = "notify";

/// Where lines are queued; none before the log is started.
static QUEUE: OnceLock<Sender<Line>> = OnceLock::new();

/// Writes a line that has its form already, whatever the level.
pub(crate) fn write(line: Vec<u8>) {
    if let Some(queue) = QUEUE.get() {
        enqueue(queue, line);
    }
}

fn enqueue(queue: &Sender<Line>, line: Vec<u8>) {
    if queue.try_send(Line::Text(line)).is_err() {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Target of records of authentication; they are governed by `logging.auditAuthEvents` alone.
pub(crate) const AUTH_EVENT: &str = "auth-event";

/// Lines dropped because the output did not keep up.
#[must_use]
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Writes lines of another level or form from now on.
pub(crate) fn configure(config: &harper_config::Logging) {
    let level = match config.level.as_str() {
        "trace" => 4,
        "debug" => 3,
        "info" => 2,
        "warn" => 1,
        _ => 0,
    };
    LEVEL.store(level, Ordering::Relaxed);
    IS_JSON.store(config.json, Ordering::Relaxed);
    // every place in the program that logs remembers whether anybody wants its lines
    tracing::callsite::rebuild_interest_cache();
}

/// Starts the log. A second call has no effect.
///
/// # Errors
/// The system's refusal of a thread.
pub(crate) fn start(config: &harper_config::Logging) -> std::io::Result<Guard> {
    let (queue, lines) = bounded::<Line>(QUEUE_LINES_MAX);
    let writer = std::thread::Builder::new().name("log".into()).spawn(move || {
        let mut out = std::io::stdout();
        while let Ok(Line::Text(line)) = lines.recv() {
            // nobody can be told that the log cannot be written
            let _ = out.write_all(&line);
        }
    })?;
    let output = Output { queue: QUEUE.get_or_init(|| queue.clone()).clone() };
    configure(config);
    let json = format::json().flatten_event(true).with_thread_names(true).with_current_span(false);
    let lines = tracing_subscriber::fmt::layer()
        .event_format(LogLine { json })
        .fmt_fields(JsonFields::new())
        .with_writer(output);
    // there is a log already when this is not the first call
    let _ = tracing_subscriber::registry().with(Filter).with(lines).try_init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(%place, "a fault of the program: {}", panic.payload_as_str().unwrap_or("?"));
    }));
    Ok(Guard { queue, writer: Some(writer) })
}

/// Ends the log when dropped, after what is queued has been written.
pub(crate) struct Guard {
    queue: Sender<Line>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // a reader of the output that has stopped reading must not keep the process from ending
        let told = self.queue.send_timeout(Line::End, END_WITHIN).is_ok();
        if let Some(writer) = self.writer.take().filter(|_| told) {
            let _ = writer.join();
        }
    }
}

/// Which lines are wanted. It is asked once for each place in the program that logs, and again by [`configure`].
struct Filter;

impl Filter {
    fn wants(metadata: &Metadata<'_>) -> bool {
        let least = match metadata.target() {
            NOTIFY | AUTH_EVENT => LevelFilter::INFO,
            _ => Self::level(),
        };
        *metadata.level() <= least
    }

    fn level() -> LevelFilter {
        LEVELS.get(LEVEL.load(Ordering::Relaxed)).copied().unwrap_or(LevelFilter::WARN)
    }
}

impl<S: Subscriber> Layer<S> for Filter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if Self::wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        Self::wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(Self::level().max(LevelFilter::INFO))
    }
}

enum Line {
    Text(Vec<u8>),
    End,
}

#[derive(Clone)]
struct Output {
    queue: Sender<Line>,
}

struct LineWriter {
    line: Vec<u8>,
    queue: Sender<Line>,
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        LineWriter { line: Vec::with_capacity(160), queue: self.queue.clone() }
    }
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            enqueue(&self.queue, line);
        }
    }
}

/// A line in the form of `logging.format`.
struct LogLine {
    json: Format<Json>,
}

impl<S, N> FormatEvent<S, N> for LogLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if IS_JSON.load(Ordering::Relaxed) {
            self.json.format_event(context, writer, event)
        } else {
            HarperLine.format_event(context, writer, event)
        }
    }
}

/// Harper's line: `<time> [<thread>] [<level>]: <message> <field>=<value> …`.
struct HarperLine;

impl<S, N> FormatEvent<S, N> for HarperLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let target = event.metadata().target();
        let level = if target == NOTIFY {
            NOTIFY.to_owned()
        } else {
            event.metadata().level().as_str().to_ascii_lowercase()
        };
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("main");
        let now = jiff::Timestamp::now();
        write!(writer, "{now:.3} [{thread}] [{level}]")?;
        if target == AUTH_EVENT {
            let mut record = Record::default();
            event.record(&mut record);
            write!(writer, " [{target}]: {}", serde_json::Value::Object(record.0))?;
        } else {
            writer.write_char(':')?;
            event.record(&mut Words { writer: &mut writer });
        }
        writeln!(writer)
    }
}

/// The fields of an event as one JSON object.
#[derive(Default)]
struct Record(serde_json::Map<String, serde_json::Value>);

impl Visit for Record {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

struct Words<'a, 'b> {
    writer: &'a mut Writer<'b>,
}

impl Visit for Words<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // a log line that cannot be formatted is cut short, nothing more
        let _ = match field.name() {
            "message" => write!(self.writer, " {value:?}"),
            name => write!(self.writer, " {name}={value:?}"),
        };
    }
}
