//! Durable PUT over HTTP against the same group commit in the store alone, as the disk is and with a slower sync.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use crossbeam_channel::{Receiver, bounded};
use serde_json::{Value, json};

use crate::{
    Common,
    load::{self, Expected, Load},
    process::{Process, cores, cpu_time},
    report::{Goal, Limit, Section, cell, median, note},
    server::{self, Application, PASSWORD, Server, Settings, USERNAME},
    store_put::{WINDOW_BEGINS, WINDOW_ENDS},
    wire,
    workload::Writes,
};

/// CPU per write over HTTP over that of the store alone.
const CPU_RATIO_MAX: f64 = 2.0;
const WRITES_PER_SYNC_MIN: f64 = 30.0;
/// What is added to each sync: nothing, and what a network disk takes.
const SYNC_DELAYS_MS: [u64; 2] = [0, 2];
const WARM_UP: Duration = Duration::from_secs(1);
const LINE_TIMEOUT: Duration = Duration::from_secs(30);

const WRITES: &str = "harper_store_operations_total";
const SYNCS: &str = "harper_store_commits_total";

/// One turn of the server or of the store.
struct Turn {
    per_second: f64,
    cpu_micros: f64,
    /// NaN when the server does not tell.
    writes_per_sync: f64,
    p50_micros: f64,
    p99_micros: f64,
}

/// Both contenders under one sync delay.
struct Contest {
    delay_ms: u64,
    server: Vec<Turn>,
    store: Vec<Turn>,
}

/// Runs the comparison.
pub(crate) fn run(common: &Common) -> Result<Section> {
    let binary = server::binary(common.server.as_deref())?;
    let mut contests = Vec::new();
    for delay_ms in SYNC_DELAYS_MS {
        let mut contest = Contest { delay_ms, server: Vec::new(), store: Vec::new() };
        for round in 0..common.rounds {
            // The order changes each round, so that neither always runs after the other.
            for ours in [round % 2 == 0, round % 2 == 1] {
                // A new root each time: neither inherits the other's pages or a grown file.
                let directory = tempfile::tempdir_in(&common.directory)?;
                let (name, turns) = match ours {
                    true => ("server", &mut contest.server),
                    false => ("store", &mut contest.store),
                };
                let turn = match ours {
                    true => server_turn(common, &binary, directory.path(), delay_ms),
                    false => store_turn(common, directory.path(), delay_ms),
                };
                let turn = turn.with_context(|| format!("round {round} of the {name}"))?;
                let Turn { per_second, cpu_micros, .. } = turn;
                note(&format!(
                    "put +{delay_ms} ms {round}: {name} {per_second:.0}/s, {cpu_micros:.1} µs CPU"
                ));
                turns.push(turn);
            }
        }
        contests.push(contest);
    }
    Ok(section(common, &contests))
}

fn server_turn(common: &Common, binary: &Path, directory: &Path, delay_ms: u64) -> Result<Turn> {
    let application = Application::one_table(directory)?;
    let server = Server::start(&Settings {
        binary,
        directory,
        application: &application,
        workers: 1,
        sync_delay_ms: delay_ms,
        core: cores().map(|cores| cores.server),
        identity: None,
    })?;
    let load = Load {
        addr: server.http,
        connections: common.connections,
        warm_up: WARM_UP,
        window: common.window(),
        expected: Expected { status: 204, body_bytes: 0 },
    };
    let authorization = wire::basic(USERNAME, PASSWORD);
    let source = |writer| {
        let mut writes = Writes::new(writer);
        let authorization = authorization.clone();
        let mut body = Vec::new();
        move |out: &mut Vec<u8>| {
            let key = writes.next(&mut body);
            *out = wire::request("PUT", &format!("/Item/{key}"), &authorization, &body);
        }
    };
    let measured = load::run(load, source, || {
        let cpu = cpu_time(server.process.id())?;
        Ok((cpu, server.metric(WRITES)?, server.metric(SYNCS)?))
    })?;
    let cpu = measured.after.0.since(measured.before.0).total();
    let counted = |after: Option<f64>, before: Option<f64>| Some(after? - before.unwrap_or(0.0));
    let writes = counted(measured.after.1, measured.before.1);
    let syncs = counted(measured.after.2, measured.before.2);
    let writes_per_sync = match (writes, syncs) {
        (Some(writes), Some(syncs)) => writes / syncs,
        _ => {
            note(&format!("put: the server's /metrics lacks {WRITES} or {SYNCS}"));
            f64::NAN
        }
    };
    let micros = |share| measured.latency.quantile(share).as_secs_f64() * 1e6;
    Ok(Turn {
        per_second: measured.per_second(),
        cpu_micros: cpu.as_secs_f64() * 1e6 / measured.requests() as f64,
        writes_per_sync,
        p50_micros: micros(0.5),
        p99_micros: micros(0.99),
    })
}

fn store_turn(common: &Common, directory: &Path, delay_ms: u64) -> Result<Turn> {
    let root = directory.join("root");
    std::fs::create_dir_all(&root)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("store-put").arg("--root").arg(root);
    for (option, value) in [
        ("--writers", common.connections as u128),
        ("--warm-up-ms", WARM_UP.as_millis()),
        ("--window-ms", common.window().as_millis()),
        ("--sync-delay-ms", u128::from(delay_ms)),
    ] {
        command.args([option, &value.to_string()]);
    }
    let core = cores().map(|cores| cores.server);
    let mut process = Process::start_piped(command, core, &directory.join("store.log"))?;
    let (stdin, stdout) = process.pipes()?;
    let lines = lines(stdout);
    let timeout = LINE_TIMEOUT + WARM_UP + common.window();
    let next = |process: &Process| {
        let line = lines.recv_timeout(timeout);
        line.with_context(|| format!("the store said no more:\n{}", process.log_tail()))
    };

    expect(&next(&process)?, WINDOW_BEGINS)?;
    let before = cpu_time(process.id())?;
    expect(&next(&process)?, WINDOW_ENDS)?;
    let cpu = cpu_time(process.id())?.since(before).total();
    let figures: Value = serde_json::from_str(&next(&process)?)?;
    // The end of its stdin tells the child that it may go.
    drop(stdin);

    let number = |name: &str| figures[name].as_f64().with_context(|| format!("no {name}"));
    Ok(Turn {
        per_second: number("writes")? / number("window_seconds")?,
        cpu_micros: cpu.as_secs_f64() * 1e6 / number("writes")?,
        writes_per_sync: number("stored")? / number("syncs")?,
        p50_micros: number("p50_micros")?,
        p99_micros: number("p99_micros")?,
    })
}

fn expect(line: &str, wanted: &str) -> Result<()> {
    if line != wanted {
        bail!("the store said {line:?} and not {wanted:?}");
    }
    Ok(())
}

/// The lines of a child, read by a thread, so that waiting for one can end.
fn lines(stdout: std::process::ChildStdout) -> Receiver<String> {
    let (sender, receiver) = bounded(16);
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn section(common: &Common, contests: &[Contest]) -> Section {
    let mut rows = Vec::new();
    let mut figures = Vec::new();
    let mut goals = Vec::new();
    for Contest { delay_ms, server, store } in contests {
        let ratio = median(
            server.iter().zip(store).map(|(ours, alone)| ours.cpu_micros / alone.cpu_micros),
        );
        for (name, turns, ratio) in
            [("PUT over HTTP", server, Some(ratio)), ("the store alone", store, None)]
        {
            let name = format!("{name}, sync +{delay_ms} ms");
            rows.push(row(&name, turns, ratio));
            figures.push(figure(&name, *delay_ms, turns, ratio));
        }
        let shared = median(server.iter().map(|turn| turn.writes_per_sync));
        goals.push(match delay_ms {
            0 => Goal {
                name: "CPU per durable PUT over the store alone",
                got: ratio,
                limit: Limit::AtMost(CPU_RATIO_MAX),
            },
            _ => Goal {
                name: "writes that share a sync of 2 ms more",
                got: shared,
                limit: Limit::AtLeast(WRITES_PER_SYNC_MIN),
            },
        });
    }
    let (connections, rounds, window) = (common.connections, common.rounds, common.window());
    Section {
        title: format!(
            "Durable PUT, {connections} writers, one index, medians of {rounds} rounds of {window:?}"
        ),
        columns: &["", "writes/s", "CPU µs", "× store", "writes/sync", "p50 µs", "p99 µs"],
        rows,
        goals,
        figures: Value::Array(figures),
    }
}

fn row(name: &str, turns: &[Turn], ratio: Option<f64>) -> Vec<String> {
    let middle = |value: fn(&Turn) -> f64| median(turns.iter().map(value));
    vec![
        name.to_owned(),
        cell(middle(|turn| turn.per_second), 0),
        cell(middle(|turn| turn.cpu_micros), 1),
        cell(ratio.unwrap_or(1.0), 2),
        cell(middle(|turn| turn.writes_per_sync), 1),
        cell(middle(|turn| turn.p50_micros), 0),
        cell(middle(|turn| turn.p99_micros), 0),
    ]
}

fn figure(name: &str, delay_ms: u64, turns: &[Turn], ratio: Option<f64>) -> Value {
    let rounds: Vec<Value> = turns
        .iter()
        .map(|turn| {
            let Turn { per_second, cpu_micros, writes_per_sync, p50_micros, p99_micros } = turn;
            json!({
                "per_second": per_second,
                "cpu_micros": cpu_micros,
                "writes_per_sync": writes_per_sync,
                "p50_micros": p50_micros,
                "p99_micros": p99_micros,
            })
        })
        .collect();
    json!({ "name": name, "sync_delay_millis": delay_ms, "cpu_over_store": ratio, "rounds": rounds })
}
