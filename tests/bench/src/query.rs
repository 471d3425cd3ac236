//! An indexed query of 20 rows: our server against bare hyper and Node, which repeat the bytes of one answer, and
//! against Node with SQLite, which looks the rows up as we do.

use std::{path::Path, process::Command, sync::Arc};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{
    Common,
    compare::{Comparison, CpuGoal, Field},
    get,
    load::{self, Expected, Load},
    peers::{self, Peer, Sample},
    process::{cores, free_address},
    report::{Section, note},
    server::{ASK_TIMEOUT, PASSWORD, Server, USERNAME},
    wire,
};

const RECORDS: usize = 10_000;
const GROUPS: usize = 500;
const TEXT_BYTES: usize = 200;
/// Records that one request of the filling sends.
const BATCH: usize = 1000;
const SQLITE: &str = "node, SQLite";
/// CPU per query of our server over that of Node's `http`, which does nothing but send.
const OVER_NODE_MAX: f64 = 1.8;
/// CPU per query of our server over that of Node with SQLite.
const OVER_SQLITE_MAX: f64 = 0.67;

/// Runs the comparison.
pub(crate) fn run(common: &Common) -> Result<Section> {
    let directory = tempfile::tempdir_in(&common.directory)?;
    let core = cores().map(|cores| cores.server);
    let ours = get::start_ours(common, directory.path(), core, None)?;
    fill(&ours)?;
    let sample = sample_of(&ours)?;
    let start = |peer| peers::start(peer, &sample, directory.path(), core, None);
    let ours_at = Some((ours.http, ours.process.id()));
    let mut all = Field::gather("query", &[Peer::Harper, Peer::Hyper, Peer::Node], ours_at, start)?;
    match sqlite(directory.path(), &sample, core)? {
        Some(started) => all.add(SQLITE, started),
        None => note("query: better-sqlite3 is not installed and is left out; see README.md"),
    }
    let expected = Expected::like(&sample.answer);
    let authorization = wire::basic(USERNAME, PASSWORD);
    let requests = (0..GROUPS).map(|group| wire::request("GET", &path(group), &authorization, b""));
    let requests: Arc<[Vec<u8>]> = requests.collect();
    comparison(common).run(common, &all.contenders, |contender, probe| {
        let load = Load::of(common, contender.addr, expected);
        // each connection goes round the groups from a place of its own
        let source = |connection: usize| {
            let mut turn = connection * GROUPS / common.connections;
            let requests = Arc::clone(&requests);
            move |out: &mut Vec<u8>| {
                out.extend_from_slice(&requests[turn % GROUPS]);
                turn += 1;
            }
        };
        load::run(load, source, probe)
    })
}

fn path(group: usize) -> String {
    format!("/Item/?group=group-{group:04}")
}

fn fill(server: &Server) -> Result<()> {
    let authorization = wire::basic(USERNAME, PASSWORD);
    let text = "x".repeat(TEXT_BYTES);
    for begin in (0..RECORDS).step_by(BATCH) {
        let records: Vec<_> = (begin..begin + BATCH)
            .map(|at| {
                let group = at % GROUPS;
                json!({ "id": format!("item-{at:06}"), "group": format!("group-{group:04}"), "text": text })
            })
            .collect();
        let body = json!(records).to_string();
        let put = wire::request("PUT", "/Item/", &authorization, body.as_bytes());
        let answer = wire::ask(server.http, &put, ASK_TIMEOUT)?;
        ensure!(answer.status == 204, "filling answered {}", answer.status);
    }
    Ok(())
}

/// The answer that the peers repeat, or have to make: 20 rows.
fn sample_of(server: &Server) -> Result<Sample> {
    let request = wire::request("GET", &path(7), &wire::basic(USERNAME, PASSWORD), b"");
    let raw = wire::ask_raw(server.http, &request, ASK_TIMEOUT)?;
    let answer = wire::parse(&raw)?;
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&answer.body)?;
    ensure!(rows.len() == RECORDS / GROUPS, "the query found {} rows", rows.len());
    Ok(Sample { path: path(7), raw, answer })
}

/// Node with better-sqlite3 from `HARPER_TEST_CACHE`; `None` when it is not there.
fn sqlite(
    directory: &Path,
    sample: &Sample,
    core: Option<usize>,
) -> Result<Option<peers::Running>> {
    let Some(node) = peers::installed("node") else { return Ok(None) };
    let Some(modules) = modules().filter(|modules| modules.join("better-sqlite3").is_dir()) else {
        return Ok(None);
    };
    let script = directory.join("sqlite.js");
    std::fs::write(&script, include_str!("peers/sqlite.js"))?;
    let addr = free_address()?;
    let mut command = Command::new(node);
    command.arg(script).args([addr.ip().to_string(), addr.port().to_string()]);
    command.args([RECORDS, GROUPS, TEXT_BYTES].map(|number| number.to_string()));
    command.env("NODE_PATH", modules);
    peers::run(SQLITE, command, addr, sample, &directory.join("sqlite.log"), core).map(Some)
}

/// Where `npm install --prefix` put the modules.
fn modules() -> Option<std::path::PathBuf> {
    let cache = std::env::var_os("HARPER_TEST_CACHE").map(std::path::PathBuf::from);
    let home = || Some(Path::new(&std::env::var_os("HOME")?).join(".cache/harper-tests"));
    Some(cache.or_else(home)?.join("sqlite/node_modules"))
}

fn comparison(common: &Common) -> Comparison {
    let (connections, rounds, window) = (common.connections, common.rounds, common.window());
    let goal =
        |name, over, at_most| CpuGoal { name, contender: Peer::Harper.name(), over, at_most };
    let rows = RECORDS / GROUPS;
    Comparison {
        label: "query",
        title: format!(
            "Indexed query of {rows} rows in {RECORDS}, {connections} connections, medians of {rounds} rounds of {window:?}"
        ),
        baseline: Peer::Node.name(),
        columns: &[
            "server",
            "requests/s",
            "× node",
            "CPU µs",
            "× node",
            "user µs",
            "× node",
            "p50 µs",
            "p99 µs",
        ],
        goals: vec![
            goal("CPU per query over Node http", Peer::Node.name(), OVER_NODE_MAX),
            goal("CPU per query over Node with SQLite", SQLITE, OVER_SQLITE_MAX),
        ],
    }
}
