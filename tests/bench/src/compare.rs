//! Servers in turns on one core under the same load: their figures, and the ratios to one of them.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    Common,
    load::Measured,
    peers::{Peer, Running},
    process::{CpuTime, cpu_time},
    report::{Goal, Limit, Section, cell, median, note},
};

/// A server that takes part.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) addr: SocketAddr,
    pub(crate) process: u32,
}

/// Everyone who takes part; those that were started for it end with it.
pub(crate) struct Field {
    pub(crate) contenders: Vec<Contender>,
    running: Vec<Running>,
}

impl Field {
    /// Has `start` start each of `peers` but our server, which is at `ours`. `label` begins the line about one that is not
    /// installed.
    pub(crate) fn gather(
        label: &str,
        peers: &[Peer],
        ours: Option<(SocketAddr, u32)>,
        start: impl Fn(Peer) -> Result<Option<Running>>,
    ) -> Result<Self> {
        let mut field = Self { contenders: Vec::new(), running: Vec::new() };
        for &peer in peers {
            if let (Peer::Harper, Some((addr, process))) = (peer, ours) {
                field.contenders.push(Contender { name: peer.name(), addr, process });
            } else if let Some(started) = start(peer)? {
                field.add(peer.name(), started);
            } else {
                note(&format!("{label}: {} is not installed and is left out", peer.name()));
            }
        }
        Ok(field)
    }

    /// One more, which has been started.
    pub(crate) fn add(&mut self, name: &'static str, started: Running) {
        let (addr, process) = (started.addr, started.process.id());
        self.contenders.push(Contender { name, addr, process });
        self.running.push(started);
    }
}

/// A bound for the CPU of one contender over that of another.
pub(crate) struct CpuGoal {
    pub(crate) name: &'static str,
    pub(crate) contender: &'static str,
    pub(crate) over: &'static str,
    pub(crate) at_most: f64,
}

/// What is compared, and by which words.
pub(crate) struct Comparison {
    /// Short word for the lines of progress.
    pub(crate) label: &'static str,
    pub(crate) title: String,
    /// Who the ratios in the table are taken over.
    pub(crate) baseline: &'static str,
    /// Columns of the table; the ratios' columns name the baseline.
    pub(crate) columns: &'static [&'static str],
    pub(crate) goals: Vec<CpuGoal>,
}

/// One turn of one server.
struct Turn {
    per_second: f64,
    cpu_micros: f64,
    /// The part of it outside the kernel.
    user_micros: f64,
    p50_micros: f64,
    p99_micros: f64,
}

impl Turn {
    fn new(measured: &Measured<CpuTime>) -> Self {
        let cpu = measured.after.since(measured.before);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / measured.requests() as f64;
        let micros = |share| measured.latency.quantile(share).as_secs_f64() * 1e6;
        Self {
            per_second: measured.per_second(),
            cpu_micros: each(cpu.total()),
            user_micros: each(cpu.user),
            p50_micros: micros(0.5),
            p99_micros: micros(0.99),
        }
    }
}

type Turns = Vec<Vec<Turn>>;

impl Comparison {
    /// Gives every contender its turns; `load` runs the client against one of them, with a probe of its CPU time.
    pub(crate) fn run(
        &self,
        common: &Common,
        contenders: &[Contender],
        load: impl Fn(&Contender, &dyn Fn() -> Result<CpuTime>) -> Result<Measured<CpuTime>>,
    ) -> Result<Section> {
        let mut turns: Turns = contenders.iter().map(|_| Vec::new()).collect();
        for round in 0..common.rounds {
            // Another begins each round, so that no one always runs after the same neighbour.
            for step in 0..contenders.len() {
                let index = (round + step) % contenders.len();
                let contender = &contenders[index];
                let measured = load(contender, &|| cpu_time(contender.process))
                    .with_context(|| format!("round {round} of {}", contender.name))?;
                let turn = Turn::new(&measured);
                let Turn { per_second, cpu_micros, .. } = turn;
                let (label, name) = (self.label, contender.name);
                note(&format!("{label} {round}: {name} {per_second:.0}/s, {cpu_micros:.2} µs CPU"));
                turns[index].push(turn);
            }
        }
        Ok(self.section(contenders, &turns))
    }

    fn section(&self, contenders: &[Contender], turns: &Turns) -> Section {
        let of = |name: &str| {
            let found = contenders.iter().position(|contender| contender.name == name);
            found.map(|index| turns[index].as_slice())
        };
        let baseline = of(self.baseline);
        let (rows, figures) = contenders
            .iter()
            .zip(turns)
            .map(|(contender, turns)| row(contender, turns, baseline))
            .unzip();
        let goals = self.goals.iter().filter_map(|goal| {
            let got = ratio(of(goal.contender)?, Some(of(goal.over)?), |turn| turn.cpu_micros);
            Some(Goal { name: goal.name, got, limit: Limit::AtMost(goal.at_most) })
        });
        Section {
            title: self.title.clone(),
            columns: self.columns,
            rows,
            goals: goals.collect(),
            figures: Value::Array(figures),
        }
    }
}

/// A line of the table, and its figures in full.
fn row(contender: &Contender, turns: &[Turn], baseline: Option<&[Turn]>) -> (Vec<String>, Value) {
    let middle = |value: fn(&Turn) -> f64| median(turns.iter().map(value));
    let cpu_ratio = ratio(turns, baseline, |turn| turn.cpu_micros);
    let rate_ratio = ratio(turns, baseline, |turn| turn.per_second);
    let (per_second, cpu) = (middle(|t| t.per_second), middle(|t| t.cpu_micros));
    let (p50, p99) = (middle(|t| t.p50_micros), middle(|t| t.p99_micros));
    let cells = vec![
        contender.name.to_owned(),
        cell(per_second, 0),
        cell(rate_ratio, 2),
        cell(cpu, 2),
        cell(cpu_ratio, 2),
        cell(middle(|t| t.user_micros), 2),
        cell(ratio(turns, baseline, |turn| turn.user_micros), 2),
        cell(p50, 0),
        cell(p99, 0),
    ];
    let rounds: Vec<Value> = turns
        .iter()
        .map(|turn| {
            json!({
                "per_second": turn.per_second,
                "cpu_micros": turn.cpu_micros,
                "user_micros": turn.user_micros,
            })
        })
        .collect();
    let figures = json!({
        "server": contender.name,
        "per_second": per_second,
        "per_second_over_baseline": rate_ratio,
        "cpu_micros": cpu,
        "cpu_over_baseline": cpu_ratio,
        "p50_micros": p50,
        "p99_micros": p99,
        "rounds": rounds,
    });
    (cells, figures)
}

/// The median of the ratios of the rounds: what a slow moment of the machine does to both, it does not show.
fn ratio(turns: &[Turn], baseline: Option<&[Turn]>, value: fn(&Turn) -> f64) -> f64 {
    let Some(baseline) = baseline else { return f64::NAN };
    median(turns.iter().zip(baseline).map(|(turn, base)| value(turn) / value(base)))
}
