//! GET by id of a 500-byte record: our server against bare hyper, nginx and Node, in turns on one core.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{
    Common,
    load::{self, Expected, Load},
    peers::{self, Peer, Sample},
    process::{cores, cpu_time},
    report::{Goal, Limit, Section, cell, median, note},
    server::{self, ASK_TIMEOUT, Application, PASSWORD, Server, Settings, USERNAME},
    wire,
};

/// CPU per request of our server over that of bare hyper.
const CPU_RATIO_MAX: f64 = 1.5;
const RECORD_BYTES: usize = 500;
const PATH: &str = "/Item/record-1";
const WARM_UP: Duration = Duration::from_millis(500);

/// What stands in for our server's answer when it takes no part.
const STAND_IN: &str = "HTTP/1.1 200 OK\r\nETag: \"0123456789abcdef\"\r\n\
    Vary: Accept, Accept-Encoding\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\
    Server-Timing: hdb;dur=0.02\r\n\r\n";

/// One turn of one server.
struct Turn {
    per_second: f64,
    cpu_micros: f64,
    p50_micros: f64,
    p99_micros: f64,
}

struct Contender {
    peer: Peer,
    addr: std::net::SocketAddr,
    process: u32,
    turns: Vec<Turn>,
}

/// Runs the comparison.
pub(crate) fn run(common: &Common, peers: &[Peer]) -> Result<Section> {
    let directory = tempfile::tempdir_in(&common.directory)?;
    let core = cores().map(|cores| cores.server);
    let ours = if peers.contains(&Peer::Harper) {
        Some(start_ours(common, directory.path(), core)?)
    } else {
        None
    };
    let sample = match &ours {
        Some(server) => sample_of(server)?,
        None => stand_in()?,
    };
    let authorization = wire::basic(USERNAME, PASSWORD);
    let request = wire::request("GET", PATH, &authorization, b"");

    let mut contenders = Vec::new();
    let mut running = Vec::new();
    for peer in peers {
        let (addr, process) = if let (Peer::Harper, Some(server)) = (peer, &ours) {
            (server.http, server.process.id())
        } else if let Some(started) = peers::start(*peer, &sample, directory.path(), core)? {
            let found = (started.addr, started.process.id());
            running.push(started);
            found
        } else {
            note(&format!("get: {} is not installed and is left out", peer.name()));
            continue;
        };
        contenders.push(Contender { peer: *peer, addr, process, turns: Vec::new() });
    }

    let expected = Expected { status: sample.answer.status, body_bytes: sample.answer.body.len() };
    for round in 0..common.rounds {
        // Another begins each round, so that no one always runs after the same neighbour.
        contenders.rotate_left(usize::from(round > 0));
        for contender in &mut contenders {
            let turn = turn(common, contender, &request, expected)
                .with_context(|| format!("round {round} of {}", contender.peer.name()))?;
            let name = contender.peer.name();
            let Turn { per_second, cpu_micros, .. } = turn;
            note(&format!("get {round}: {name} {per_second:.0}/s, {cpu_micros:.2} µs CPU"));
            contender.turns.push(turn);
        }
    }
    Ok(section(common, peers, &contenders))
}

fn start_ours(common: &Common, directory: &Path, core: Option<usize>) -> Result<Server> {
    let application = Application::one_table(directory)?;
    Server::start(&Settings {
        binary: &server::binary(common.server.as_deref())?,
        directory,
        application: &application,
        workers: 1,
        sync_delay_ms: 0,
        core,
    })
}

/// Stores a record that reads back as `RECORD_BYTES` bytes, and keeps the answer for the peers.
fn sample_of(server: &Server) -> Result<Sample> {
    let authorization = wire::basic(USERNAME, PASSWORD);
    let get = wire::request("GET", PATH, &authorization, b"");
    let mut padding = RECORD_BYTES / 2;
    // The first answer tells how many bytes the server adds, such as the key.
    for _ in 0..2 {
        let body = json!({ "group": "a", "text": "x".repeat(padding) }).to_string();
        let put = wire::request("PUT", PATH, &authorization, body.as_bytes());
        let put = wire::ask(server.http, &put, ASK_TIMEOUT)?;
        if put.status != 204 {
            bail!("PUT answered {}: {}", put.status, String::from_utf8_lossy(&put.body));
        }
        let raw = wire::ask_raw(server.http, &get, ASK_TIMEOUT)?;
        let answer = wire::parse(&raw)?;
        if answer.status != 200 {
            bail!("GET answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        if answer.body.len() == RECORD_BYTES {
            return Ok(Sample { path: PATH.to_owned(), raw, answer });
        }
        padding = (padding + RECORD_BYTES).saturating_sub(answer.body.len());
    }
    bail!("the record could not be made {RECORD_BYTES} bytes long")
}

fn stand_in() -> Result<Sample> {
    let mut raw = STAND_IN.as_bytes().to_vec();
    raw.extend(std::iter::repeat_n(b'x', RECORD_BYTES));
    let answer = wire::parse(&raw)?;
    Ok(Sample { path: PATH.to_owned(), raw, answer })
}

fn turn(
    common: &Common,
    contender: &Contender,
    request: &[u8],
    expected: Expected,
) -> Result<Turn> {
    let load = Load {
        addr: contender.addr,
        connections: common.connections,
        warm_up: WARM_UP,
        window: common.window(),
        expected,
    };
    let source = |_| {
        let request = request.to_vec();
        move |out: &mut Vec<u8>| out.extend_from_slice(&request)
    };
    let measured = load::run(load, source, || cpu_time(contender.process))?;
    let cpu = measured.after.saturating_sub(measured.before);
    let micros = |share| measured.latency.quantile(share).as_secs_f64() * 1e6;
    Ok(Turn {
        per_second: measured.per_second(),
        cpu_micros: cpu.as_secs_f64() * 1e6 / measured.requests() as f64,
        p50_micros: micros(0.5),
        p99_micros: micros(0.99),
    })
}

fn section(common: &Common, order: &[Peer], contenders: &[Contender]) -> Section {
    let of = |peer| contenders.iter().find(|contender: &&Contender| contender.peer == peer);
    let baseline = of(Peer::Hyper);
    let mut rows = Vec::new();
    let mut figures = Vec::new();
    let mut goals = Vec::new();
    for contender in order.iter().filter_map(|peer| of(*peer)) {
        let middle = |value: fn(&Turn) -> f64| median(contender.turns.iter().map(value));
        let cpu_ratio = ratio(contender, baseline, |turn| turn.cpu_micros);
        let rate_ratio = ratio(contender, baseline, |turn| turn.per_second);
        let (per_second, cpu) = (middle(|t| t.per_second), middle(|t| t.cpu_micros));
        let (p50, p99) = (middle(|t| t.p50_micros), middle(|t| t.p99_micros));
        rows.push(vec![
            contender.peer.name().to_owned(),
            cell(per_second, 0),
            cell(rate_ratio, 2),
            cell(cpu, 2),
            cell(cpu_ratio, 2),
            cell(p50, 0),
            cell(p99, 0),
        ]);
        figures.push(figure(contender, &[per_second, rate_ratio, cpu, cpu_ratio, p50, p99]));
        if contender.peer == Peer::Harper && baseline.is_some() {
            let limit = Limit::AtMost(CPU_RATIO_MAX);
            let name = "CPU per GET over bare hyper";
            goals.push(Goal { name, got: cpu_ratio, limit });
        }
    }
    let (connections, rounds, window) = (common.connections, common.rounds, common.window());
    Section {
        title: format!(
            "GET by id, {RECORD_BYTES} bytes, {connections} connections, medians of {rounds} rounds of {window:?}"
        ),
        columns: &["server", "requests/s", "× hyper", "CPU µs", "× hyper", "p50 µs", "p99 µs"],
        rows,
        goals,
        figures: Value::Array(figures),
    }
}

/// The median of the ratios of the rounds: what a slow moment of the machine does to both, it does not show.
fn ratio(contender: &Contender, baseline: Option<&Contender>, value: fn(&Turn) -> f64) -> f64 {
    let Some(baseline) = baseline else { return f64::NAN };
    let pairs = contender.turns.iter().zip(&baseline.turns);
    median(pairs.map(|(turn, base)| value(turn) / value(base)))
}

fn figure(contender: &Contender, medians: &[f64; 6]) -> Value {
    let [per_second, rate_ratio, cpu_micros, cpu_ratio, p50_micros, p99_micros] = medians;
    let rounds: Vec<Value> = contender
        .turns
        .iter()
        .map(|turn| json!({ "per_second": turn.per_second, "cpu_micros": turn.cpu_micros }))
        .collect();
    json!({
        "server": contender.peer.name(),
        "per_second": per_second,
        "per_second_over_hyper": rate_ratio,
        "cpu_micros": cpu_micros,
        "cpu_over_hyper": cpu_ratio,
        "p50_micros": p50_micros,
        "p99_micros": p99_micros,
        "rounds": rounds,
    })
}
