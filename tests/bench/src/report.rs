//! What the user sees: progress on stderr; tables, or one JSON document, on stdout.

use std::io::{self, Write};

use anyhow::Result;
use serde_json::{Value, json};

/// One table with what was asked of it.
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) columns: &'static [&'static str],
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) goals: Vec<Goal>,
    /// The figures in full, for programs.
    pub(crate) figures: Value,
}

/// A number that must not be above (or below) another.
pub(crate) struct Goal {
    pub(crate) name: &'static str,
    pub(crate) got: f64,
    pub(crate) limit: Limit,
}

/// The bound of a goal.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    /// Whether the number keeps its bound; one that is no number does not.
    pub(crate) fn met(&self) -> bool {
        match self.limit {
            Limit::AtMost(limit) => self.got <= limit,
            Limit::AtLeast(limit) => self.got >= limit,
        }
    }

    fn sentence(&self) -> String {
        let verdict = if self.met() { "met" } else { "MISSED" };
        let (word, limit) = match self.limit {
            Limit::AtMost(limit) => ("at most", limit),
            Limit::AtLeast(limit) => ("at least", limit),
        };
        format!("goal {verdict}: {} {:.2}, {word} {limit}", self.name, self.got)
    }
}

/// A line for the person who waits.
pub(crate) fn note(line: &str) {
    // Progress that nobody can read is no reason to stop.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints the sections; returns how many goals were missed.
pub(crate) fn print(sections: &[Section], as_json: bool) -> Result<usize> {
    let mut out = io::stdout().lock();
    if as_json {
        let all: Vec<Value> = sections.iter().map(document).collect();
        serde_json::to_writer_pretty(&mut out, &all)?;
        writeln!(out)?;
    } else {
        for section in sections {
            out.write_all(text(section).as_bytes())?;
        }
    }
    Ok(sections.iter().flat_map(|section| &section.goals).filter(|goal| !goal.met()).count())
}

fn document(section: &Section) -> Value {
    let goals: Vec<Value> = section
        .goals
        .iter()
        .map(|goal| json!({ "name": goal.name, "got": goal.got, "met": goal.met() }))
        .collect();
    json!({ "title": section.title, "figures": section.figures, "goals": goals })
}

fn text(section: &Section) -> String {
    let header: Vec<String> = section.columns.iter().map(|name| (*name).to_owned()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&header).chain(&section.rows).collect();
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let mut text = format!("\n{}\n\n", section.title);
    for line in &lines {
        for (column, cell) in line.iter().enumerate() {
            let width = width(column).unwrap_or_default();
            // The first column names the row; the others are numbers and stand under each other.
            text.push_str(&match column {
                0 => format!("  {cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            });
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text.push('\n');
    for goal in &section.goals {
        text.push_str(&format!("  {}\n", goal.sentence()));
    }
    text
}

/// A number as a cell; `-` where there is none.
pub(crate) fn cell(value: f64, decimals: usize) -> String {
    if value.is_finite() { format!("{value:.decimals$}") } else { "-".to_owned() }
}

/// The middle value; of an even number of values the mean of the two in the middle; NaN of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert!(median([]).is_nan());
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn a_goal_without_a_number_is_missed() {
        for limit in [Limit::AtMost(1.0), Limit::AtLeast(1.0)] {
            assert!(!Goal { name: "x", got: f64::NAN, limit }.met());
            assert!(Goal { name: "x", got: 1.0, limit }.met());
        }
    }

    #[test]
    fn columns_line_up() {
        let section = Section {
            title: "t".to_owned(),
            columns: &["peer", "µs"],
            rows: vec![vec!["nginx".to_owned(), "12.5".to_owned()]],
            goals: Vec::new(),
            figures: Value::Null,
        };
        assert_eq!(text(&section), "\nt\n\n  peer     µs\n  nginx  12.5\n\n");
    }
}
