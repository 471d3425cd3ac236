//! A plan as data, for people who ask why a query is slow.

use serde::Serialize;

use crate::database::ReadTxn;
use crate::error::Error;
use crate::plan::{self, Branch, Reach, Source};
use crate::query::QueryRun;
use crate::table::Table;

/// Entries counted of each range.
const COUNTED_MAX: usize = 10_000;

/// How a query would be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The table.
    pub table: String,
    /// Records in it.
    pub records: u64,
    /// The plan in one line.
    pub plan: String,
    /// What is read, one after the other; several are a union.
    pub reads: Vec<Read>,
    /// Ranges of other indexes that narrow what is read once enough has been read in vain.
    pub intersections: Vec<Read>,
    /// Whether records are tested for conditions that no range covers.
    pub filters: bool,
    /// Whether the records that are found are sorted in memory.
    pub sorts_in_memory: bool,
    /// Whether every record of the table is read to find those that meet the conditions.
    pub full_scan: bool,
}

/// A part of a tree that is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Read {
    /// The indexed attribute; none when records are read by their primary key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// `whole`, `range`, or `values` when related records name the values.
    pub extent: &'static str,
    /// Whether it is read from its end.
    pub backwards: bool,
    /// Entries to be read, counted up to 10,000; of `values`, entries to be read to find those.
    pub entries: usize,
    /// Whether there are more entries than were counted.
    pub has_more_entries: bool,
    /// How the related records are found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related: Option<Box<Explanation>>,
}

impl QueryRun {
    /// How the query will be run, with the sizes as they are now.
    ///
    /// # Errors
    /// [`Error::WrongDatabase`]; storage errors.
    pub fn explain(&self, txn: &ReadTxn<'_>) -> Result<Explanation, Error> {
        let (table, plan) = (self.table(), self.plan());
        let reads = |branches: &[Branch]| -> Result<Vec<Read>, Error> {
            branches.iter().map(|branch| read(branch, table, txn)).collect()
        };
        Ok(Explanation {
            table: table.name().to_owned(),
            records: table.count(txn)?,
            plan: plan.to_string(),
            reads: reads(&plan.branches)?,
            intersections: reads(&plan.intersections)?,
            filters: !plan.residual.is_empty(),
            sorts_in_memory: !plan.sort.is_empty(),
            full_scan: plan.searches_table(),
        })
    }
}

fn read(branch: &Branch, table: &Table, txn: &ReadTxn<'_>) -> Result<Read, Error> {
    let entries = plan::count(std::slice::from_ref(branch), table, txn, COUNTED_MAX + 1)?;
    let (extent, related) = match &branch.reach {
        Reach::Range(_) if branch.reach.is_everything() => ("whole", None),
        Reach::Range(_) => ("range", None),
        Reach::Points(_) => ("values", None),
        Reach::Related(pending) => ("values", Some(Box::new(pending.run().explain(txn)?))),
    };
    Ok(Read {
        index: match &branch.source {
            Source::Primary => None,
            Source::Index { index, .. } => Some(index.attribute.clone()),
        },
        extent,
        backwards: branch.reverse,
        entries: entries.min(COUNTED_MAX),
        has_more_entries: entries > COUNTED_MAX,
        related,
    })
}
