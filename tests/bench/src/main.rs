//! Measures the server beside what it is built on and beside what it replaces, with one client and in one run.
//! README.md says what each number means.

mod certs;
mod compare;
mod compress;
mod deliveries;
mod fanout;
mod flow;
mod get;
mod histogram;
mod idle;
mod load;
mod mqtt;
mod peers;
mod process;
mod put;
mod query;
mod report;
mod secure;
mod server;
mod start;
mod store_put;
mod wire;
mod workload;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{peers::Peer, process::Cores};

/// The type number of a file system in memory, from Linux' `magic.h`.
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

// The server's allocator, so that the baselines have it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "Measures harper-server; see tests/bench/README.md")]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum Benchmark {
    /// GET by id against bare hyper, nginx and Node.
    Get {
        /// Who takes part; `harper` left out compares the peers alone.
        #[arg(long, value_enum, value_delimiter = ',', default_values_t = Peer::value_variants().to_vec())]
        peers: Vec<Peer>,
    },
    /// GET by id over TLS, with HTTP/1.1 and HTTP/2, against nginx and h2o.
    Secure,
    /// An indexed query of 20 rows against bare hyper, Node and Node with SQLite.
    Query,
    /// Durable PUT over HTTP against the same group commit in the store alone.
    Put,
    /// Time from start to ready, and memory at rest.
    Start,
    /// Certificates that are exchanged under new connections, beside nginx.
    Certs,
    /// MQTT between 1 and 1,000 clients against mosquitto, and the memory of idle connections.
    Mqtt {
        /// What is wanted: `1-1`, `1-1000`, `1000-1`, `time` or `idle`; all without it.
        #[arg(long)]
        only: Option<String>,
    },
    /// WebSocket and Server-Sent Events to 5,000 listeners against Node, and the memory of idle connections.
    Fanout,
    /// Bytes and CPU of the content codings at each quality, for a 20 kB body.
    Compress,
    /// Those of requests and of the start: `get`, `secure`, `query`, `put`, `start`.
    All,
    /// The bare hyper server, started by `get`.
    #[command(hide = true)]
    PeerHyper {
        #[arg(long)]
        address: SocketAddr,
        /// The response to repeat.
        #[arg(long)]
        answer: PathBuf,
    },
    /// The store alone, started by `put`.
    #[command(hide = true)]
    StorePut(store_put::Settings),
}

/// Options of every benchmark.
#[derive(Args)]
struct Common {
    /// The server; without it `harper-server` beside this program.
    #[arg(long, global = true)]
    server: Option<PathBuf>,
    /// Where data is written: syncs of a memory file system cost nothing and say nothing.
    #[arg(long, global = true, default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
    /// Turns of each server.
    #[arg(long, global = true, default_value_t = 5)]
    rounds: usize,
    /// Measured time of a turn.
    #[arg(long, global = true, default_value_t = 3.0)]
    seconds: f64,
    /// Connections, each with one request in flight.
    #[arg(long, global = true, default_value_t = 64)]
    connections: usize,
    /// Print JSON, with the figures of each round.
    #[arg(long, global = true)]
    json: bool,
    /// Fail when a goal is missed.
    #[arg(long, global = true)]
    check: bool,
}

impl Common {
    /// The measured time of a turn.
    fn window(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// Tells where the figures come from, and what would make them misleading.
    fn describe(&self) {
        match process::cores() {
            Some(Cores { server, client }) => {
                report::note(&format!("servers on core {server}, client on core {client}"));
            }
            None => {
                report::note("one core only: servers and client share it, and wait for each other")
            }
        }
        if rustix::fs::statfs(&self.directory).is_ok_and(|found| found.f_type == TMPFS_MAGIC) {
            let directory = self.directory.display();
            report::note(&format!(
                "{directory} is in memory: name a disk with --directory for `put`"
            ));
        }
    }

    fn validate(&self) -> Result<()> {
        ensure!((0.1..=600.0).contains(&self.seconds), "--seconds is from 0.1 to 600");
        ensure!((1..=1000).contains(&self.rounds), "--rounds is from 1 to 1000");
        ensure!((1..=1024).contains(&self.connections), "--connections is from 1 to 1024");
        ensure!(self.directory.is_dir(), "{} is not a directory", self.directory.display());
        Ok(())
    }
}

fn main() -> ExitCode {
    let Arguments { benchmark, common } = Arguments::parse();
    match run(benchmark, &common) {
        Ok(missed) if missed > 0 && common.check => {
            report::note(&format!("{missed} goals were missed"));
            ExitCode::FAILURE
        }
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            report::note(&format!("harper-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs one command; returns how many goals were missed.
fn run(benchmark: Benchmark, common: &Common) -> Result<usize> {
    common.validate()?;
    if !matches!(benchmark, Benchmark::PeerHyper { .. } | Benchmark::StorePut(_)) {
        common.describe();
    }
    let sections = match benchmark {
        Benchmark::PeerHyper { address, answer } => {
            return peers::hyper::serve(address, &answer).map(|()| 0);
        }
        Benchmark::StorePut(settings) => return store_put::run(&settings).map(|()| 0),
        Benchmark::Get { peers } => vec![get::run(common, &peers)?],
        Benchmark::Secure => secure::run(common)?,
        Benchmark::Query => vec![query::run(common)?],
        Benchmark::Put => vec![put::run(common)?],
        Benchmark::Start => vec![start::run(common)?],
        Benchmark::Certs => vec![certs::run(common)?],
        Benchmark::Mqtt { only } => mqtt::run(common, only.as_deref())?,
        Benchmark::Fanout => fanout::run(common)?,
        Benchmark::Compress => vec![compress::run(common)?],
        Benchmark::All => {
            let peers = Peer::value_variants();
            let mut sections = vec![get::run(common, peers)?];
            sections.extend(secure::run(common)?);
            sections.extend([query::run(common)?, put::run(common)?, start::run(common)?]);
            sections
        }
    };
    report::print(&sections, common.json)
}
