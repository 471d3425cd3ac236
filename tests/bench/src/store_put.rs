//! The store alone: the same writes as over HTTP, submitted by as many closed loops, in a process of its own so that its
//! CPU is measured as the server's is.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use crossbeam_channel::{Receiver, Sender, bounded};
use harper_store::{
    Attribute, Database, Key, Kind, Op, Options, Precondition, Prepared, Store, Table, TableSchema,
};
use serde_json::{Value, json};

use crate::{histogram::Histogram, workload::Writes};

/// The lines that tell the parent when to look at the process's CPU.
pub(crate) const WINDOW_BEGINS: &str = "window begins";
pub(crate) const WINDOW_ENDS: &str = "window ends";

const COMMIT_TIMEOUT: Duration = Duration::from_secs(20);
const DATABASE: &str = "data";

#[derive(Args)]
pub(crate) struct Settings {
    /// An empty directory for the store.
    #[arg(long)]
    root: PathBuf,
    /// Writes in flight.
    #[arg(long)]
    writers: usize,
    #[arg(long)]
    warm_up_ms: u64,
    #[arg(long)]
    window_ms: u64,
    /// Added to each sync.
    #[arg(long)]
    sync_delay_ms: u64,
}

/// Writes until the window is over, prints the two lines and the figures, and waits for the end of stdin.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    let options =
        Options { sync_delay: Duration::from_millis(settings.sync_delay_ms), ..Options::default() };
    let store = Store::open(&settings.root, &settings.root.join("database"), options)?;
    let database = store.database(DATABASE)?;
    let table = database.define(schema())?;
    let mut writers = Writers::start(&database, table, settings.writers)?;

    writers.run_for(Duration::from_millis(settings.warm_up_ms))?;
    let before = counters(&store)?;
    say(WINDOW_BEGINS)?;
    let begun = Instant::now();
    let latency = writers.run_for(Duration::from_millis(settings.window_ms))?;
    let window = begun.elapsed();
    say(WINDOW_ENDS)?;
    let after = counters(&store)?;

    let micros = |share| latency.quantile(share).as_secs_f64() * 1e6;
    let figures: Value = json!({
        "writes": latency.count(),
        "window_seconds": window.as_secs_f64(),
        "p50_micros": micros(0.5),
        "p99_micros": micros(0.99),
        "stored": after.0 - before.0,
        "syncs": after.1 - before.1,
    });
    say(&figures.to_string())?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

struct Writers<'a> {
    database: &'a Database,
    table: Table,
    slots: Vec<(Writes, Instant)>,
    done: Sender<(usize, Option<String>)>,
    finished: Receiver<(usize, Option<String>)>,
    body: Vec<u8>,
}

impl<'a> Writers<'a> {
    fn start(database: &'a Database, table: Table, count: usize) -> Result<Self> {
        // Every slot has at most one write in flight, so the writer thread never waits to report one.
        let (done, finished) = bounded(count);
        let slots = (0..count).map(|slot| (Writes::new(slot), Instant::now())).collect();
        let mut writers = Self { database, table, slots, done, finished, body: Vec::new() };
        (0..count).try_for_each(|slot| writers.submit(slot))?;
        Ok(writers)
    }

    /// Keeps every slot writing for a while; the latencies of what was committed in that time.
    fn run_for(&mut self, time: Duration) -> Result<Histogram> {
        let mut latency = Histogram::new();
        let begun = Instant::now();
        while begun.elapsed() < time {
            let (slot, error) =
                self.finished.recv_timeout(COMMIT_TIMEOUT).context("a commit never came")?;
            if let Some(error) = error {
                bail!("a write failed: {error}");
            }
            latency.record(self.slots[slot].1.elapsed());
            self.submit(slot)?;
        }
        Ok(latency)
    }

    fn submit(&mut self, slot: usize) -> Result<()> {
        let (writes, begun) = &mut self.slots[slot];
        *begun = Instant::now();
        let id = writes.next(&mut self.body);
        let schema = self.table.schema();
        let key = Key::from_path(&schema, &id)?;
        let body = Prepared::put(&schema, &self.body)?;
        let table = self.table.clone();
        let done = self.done.clone();
        self.database.submit(
            vec![Op::Put { table, key, body, when: Precondition::None }],
            Box::new(move |result| {
                // The receiver goes only with the process.
                let _ = done.send((slot, result.err().map(|error| error.to_string())));
            }),
        )?;
        Ok(())
    }
}

/// The table of `server::Application::one_table`.
fn schema() -> TableSchema {
    let attribute = |name: &str, kind, indexed| Attribute { indexed, ..Attribute::new(name, kind) };
    TableSchema::new(
        DATABASE,
        "Item",
        vec![
            attribute("id", Kind::Id, false),
            attribute("group", Kind::String, true),
            attribute("text", Kind::String, false),
        ],
    )
}

/// Writes stored and syncs made so far.
fn counters(store: &Store) -> Result<(u64, u64)> {
    let stats = store.stats();
    let stats = stats.iter().find(|stats| stats.name == DATABASE).context("no statistics")?;
    Ok((stats.operations, stats.commits))
}

fn say(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
