//! Servers that take turns in delivering messages: their figures, and the ratios to one of them.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    Common,
    flow::Delivered,
    process::ThreadTimes,
    report::{Goal, Limit, Section, cell, median, note},
};

/// What a turn of a server came to.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    /// Messages that came to subscribers in a second.
    pub(crate) per_second: f64,
    /// The same for each second of the server's CPU time.
    pub(crate) per_cpu: f64,
    /// The same for each second of its busiest thread: what it could deliver if each thread had a core.
    pub(crate) per_thread: f64,
    /// NaN where messages carry no stamp.
    p50_micros: f64,
    p99_micros: f64,
    /// Of all deliveries of the turn, those that never came.
    missing: f64,
}

impl Turn {
    fn new(delivered: &Delivered<ThreadTimes>) -> Self {
        let spent = delivered.after.since(&delivered.before);
        let deliveries = delivered.deliveries as f64;
        let latency = &delivered.latency;
        let micros = |share| match latency.count() {
            0 => f64::NAN,
            _ => latency.quantile(share).as_secs_f64() * 1e6,
        };
        Self {
            per_second: deliveries / delivered.window.as_secs_f64(),
            per_cpu: deliveries / spent.total.as_secs_f64(),
            per_thread: deliveries / spent.busiest.as_secs_f64(),
            p50_micros: micros(0.5),
            p99_micros: micros(0.99),
            missing: delivered.missing as f64,
        }
    }
}

/// A bound for a contender's figure.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) contender: &'static str,
    pub(crate) figure: Figure,
    pub(crate) limit: Limit,
}

/// What a bound is on.
#[derive(Clone, Copy)]
pub(crate) enum Figure {
    /// Deliveries for each CPU second over those of the baseline.
    PerCpu,
    /// Deliveries for each second of the busiest thread over those of the baseline.
    PerThread,
    /// The 99th percentile in milliseconds.
    P99Millis,
}

/// What is compared, and by which words.
pub(crate) struct Contest {
    /// Short word for the lines of progress.
    pub(crate) label: String,
    pub(crate) title: String,
    /// Who the ratios are taken over.
    pub(crate) baseline: &'static str,
    pub(crate) columns: &'static [&'static str],
    pub(crate) targets: Vec<Target>,
}

type Turns = Vec<Vec<Turn>>;

impl Contest {
    /// Gives each contender its turns; `load` runs the client against the one with this place among `names`.
    pub(crate) fn run(
        &self,
        common: &Common,
        names: &[&'static str],
        load: impl Fn(usize) -> Result<Delivered<ThreadTimes>>,
    ) -> Result<Section> {
        let mut turns: Turns = names.iter().map(|_| Vec::new()).collect();
        for round in 0..common.rounds {
            // Another begins each round, so that no one always runs after the same neighbour.
            for step in 0..names.len() {
                let place = (round + step) % names.len();
                let (label, name) = (&self.label, names[place]);
                let delivered =
                    load(place).with_context(|| format!("{label}: round {round} of {name}"))?;
                let turn = Turn::new(&delivered);
                let Turn { per_second, per_cpu, p99_micros, .. } = turn;
                note(&format!(
                    "{label} {round}: {name} {per_second:.0}/s, {per_cpu:.0} per CPU second, p99 {} µs",
                    cell(p99_micros, 0)
                ));
                turns[place].push(turn);
            }
        }
        Ok(self.section(names, &turns))
    }

    fn section(&self, names: &[&'static str], turns: &Turns) -> Section {
        let of = |name: &str| {
            let place = names.iter().position(|known| *known == name)?;
            Some(turns[place].as_slice())
        };
        let baseline = of(self.baseline);
        let (rows, figures) =
            names.iter().zip(turns).map(|(name, turns)| row(name, turns, baseline)).unzip();
        let goals = self.targets.iter().filter_map(|target| {
            let turns = of(target.contender)?;
            let got = match target.figure {
                Figure::PerCpu => ratio(turns, Some(baseline?), |turn| turn.per_cpu),
                Figure::PerThread => ratio(turns, Some(baseline?), |turn| turn.per_thread),
                Figure::P99Millis => middle(turns, |turn| turn.p99_micros) / 1000.0,
            };
            Some(Goal { name: target.name, got, limit: target.limit })
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
fn row(name: &str, turns: &[Turn], baseline: Option<&[Turn]>) -> (Vec<String>, Value) {
    let per_cpu_ratio = ratio(turns, baseline, |turn| turn.per_cpu);
    let per_thread_ratio = ratio(turns, baseline, |turn| turn.per_thread);
    let cells = vec![
        name.to_owned(),
        cell(middle(turns, |turn| turn.per_second), 0),
        cell(middle(turns, |turn| turn.per_cpu), 0),
        cell(per_cpu_ratio, 2),
        cell(middle(turns, |turn| turn.per_thread), 0),
        cell(per_thread_ratio, 2),
        cell(middle(turns, |turn| turn.p50_micros), 0),
        cell(middle(turns, |turn| turn.p99_micros), 0),
        cell(middle(turns, |turn| turn.missing), 0),
    ];
    let rounds: Vec<Value> = turns.iter().map(figure).collect();
    let figures = json!({
        "server": name,
        "per_cpu_over_baseline": per_cpu_ratio,
        "per_thread_over_baseline": per_thread_ratio,
        "rounds": rounds,
    });
    (cells, figures)
}

fn figure(turn: &Turn) -> Value {
    let Turn { per_second, per_cpu, per_thread, p50_micros, p99_micros, missing } = *turn;
    json!({
        "per_second": per_second,
        "per_cpu_second": per_cpu,
        "per_second_of_busiest_thread": per_thread,
        "p50_micros": p50_micros,
        "p99_micros": p99_micros,
        "missing": missing,
    })
}

fn middle(turns: &[Turn], value: fn(&Turn) -> f64) -> f64 {
    median(turns.iter().map(value))
}

/// The median of the ratios of the rounds: what a slow moment of the machine does to both, it does not show.
fn ratio(turns: &[Turn], baseline: Option<&[Turn]>, value: fn(&Turn) -> f64) -> f64 {
    let Some(baseline) = baseline else { return f64::NAN };
    median(turns.iter().zip(baseline).map(|(turn, base)| value(turn) / value(base)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(per_cpu: &[f64]) -> Vec<Turn> {
        let turn = |per_cpu: &f64| Turn {
            per_second: 1.0,
            per_cpu: *per_cpu,
            per_thread: *per_cpu * 2.0,
            p50_micros: 100.0,
            p99_micros: 4000.0,
            missing: 0.0,
        };
        per_cpu.iter().map(turn).collect()
    }

    #[test]
    fn a_target_is_the_median_of_the_ratios_of_the_rounds() {
        let target = |figure, limit| Target { name: "x", contender: "ours", figure, limit };
        let contest = Contest {
            label: String::new(),
            title: String::new(),
            baseline: "theirs",
            columns: &[],
            targets: vec![
                target(Figure::PerCpu, Limit::AtLeast(2.0)),
                target(Figure::PerThread, Limit::AtLeast(2.1)),
                target(Figure::P99Millis, Limit::AtMost(4.0)),
            ],
        };
        let both = vec![turns(&[10.0, 20.0, 300.0]), turns(&[5.0, 10.0, 10.0])];
        let section = contest.section(&["ours", "theirs"], &both);
        let got: Vec<_> = section.goals.iter().map(|goal| (goal.got, goal.met())).collect();
        assert_eq!(got, [(2.0, true), (2.0, false), (4.0, true)]);
        assert!(contest.section(&["ours"], &both).goals.len() == 1, "no ratio without a baseline");
    }
}
