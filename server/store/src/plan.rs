//! How a query is run: the trees that are read, and what is left to test in each record.

use std::fmt;
use std::sync::Arc;

use crate::bounds::{KeyRange, Tree};
use crate::database::ReadTxn;
use crate::env::Handle;
use crate::error::Error;
use crate::filter::{self, Comparator, Value};
use crate::index::Index;
use crate::join::{Hop, Lookups};
use crate::node::{Fields, Node, Values};
use crate::resolve::Pending;
use crate::scan::Cursor;
use crate::table::Table;

/// How a query is run; displayed as one line for people.
#[derive(Debug)]
pub struct Plan {
    /// Read one after the other; none: nothing can meet the query.
    pub(crate) branches: Vec<Branch>,
    /// Ranges of other indexes in which each wanted record has an entry.
    pub(crate) intersections: Vec<Branch>,
    /// What records must meet besides.
    pub(crate) residual: Vec<Node>,
    /// What they meet by having been read, which holds as long as they are not written again.
    pub(crate) covered: Vec<Node>,
    /// The attributes that are read from records.
    pub(crate) fields: Fields,
    /// The order to sort by, empty when records come in order.
    pub(crate) sort: Vec<SortField>,
    /// The indexes that are read, each with its table.
    pub(crate) used: Vec<(Table, Arc<Index>)>,
}

/// A part of one tree that is read.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) source: Source,
    pub(crate) reach: Reach,
    pub(crate) reverse: bool,
    /// Set in a union: what this branch's records meet, those of later branches must not.
    pub(crate) guard: Option<Node>,
}

/// A tree to read.
#[derive(Debug)]
pub(crate) enum Source {
    Primary,
    Index {
        index: Arc<Index>,
        /// The indexed attribute among the plan's fields.
        field: usize,
        /// Conditions that entries are tested against before their record is read.
        checks: Vec<(Comparator, Value)>,
    },
}

/// Which of its keys are read.
#[derive(Debug)]
pub(crate) enum Reach {
    Range(KeyRange),
    /// Those with one of these values, which are encoded as the tree has them, and sorted.
    Points(Vec<Vec<u8>>),
    /// Those with the values of related records, which have to be found first.
    Related(Box<Pending>),
}

/// One key of the sort order.
#[derive(Debug)]
pub(crate) enum SortField {
    PrimaryKey { descending: bool },
    Field { path: Path, descending: bool },
}

/// The way from a record to the values of an attribute: its own, or one of related records.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) hops: Vec<Hop>,
    /// Position among the fields of the record that the last hop leads to.
    pub(crate) field: usize,
}

impl Plan {
    /// Whether the whole table is read to find records that meet conditions.
    pub(crate) fn searches_table(&self) -> bool {
        let whole = |branch: &Branch| {
            matches!(branch.source, Source::Primary) && branch.reach.is_everything()
        };
        self.branches.iter().any(whole) && !self.residual.is_empty()
    }

    /// Whether records have to be looked into, to test them or to sort by what is in them.
    pub(crate) fn looks_at_records(&self) -> bool {
        let is_guarded = self.branches.first().is_some_and(|branch| branch.guard.is_some());
        !self.residual.is_empty() || !self.sort.is_empty() || is_guarded
    }

    /// Whether expressions are evaluated for the records that are read or for those related to them.
    pub(crate) fn evaluates(&self) -> bool {
        let mut guards = self.branches.iter().filter_map(|branch| branch.guard.as_ref());
        let by_path = |field: &SortField| match field {
            SortField::PrimaryKey { .. } => false,
            SortField::Field { path, .. } => path.hops.iter().any(|hop| hop.fields.evaluates()),
        };
        self.fields.evaluates()
            || self.residual.iter().any(Node::evaluates)
            || guards.any(Node::evaluates)
            || self.sort.iter().any(by_path)
    }

    /// Whether a record meets the query, however it was found.
    pub(crate) fn holds<'t>(
        &self,
        body: &'t [u8],
        values: &mut Values<'t>,
        lookups: &Lookups<'t>,
    ) -> Result<bool, Error> {
        self.fields.extract(body, values);
        let all = |nodes| Node::all(nodes, &self.fields, values, lookups);
        Ok(all(&self.residual)? && all(&self.covered)?)
    }

    /// Whether all that is read is narrowed by a condition.
    pub(crate) fn is_narrow(&self) -> bool {
        self.branches.iter().all(|branch| !branch.reach.is_everything())
    }

    /// Entries that the branches read, counted up to `max`.
    pub(crate) fn count(
        &self,
        table: &Table,
        txn: &ReadTxn<'_>,
        max: usize,
    ) -> Result<usize, Error> {
        count(&self.branches, table, txn, max)
    }
}

/// Entries that branches read, counted up to `max`; of a branch that waits for related records,
/// what is read to find those.
pub(crate) fn count(
    branches: &[Branch],
    table: &Table,
    txn: &ReadTxn<'_>,
    max: usize,
) -> Result<usize, Error> {
    let mut total = 0;
    for branch in branches {
        if let Reach::Related(pending) = &branch.reach {
            total += pending.count(txn, max - total)?;
        } else {
            let mut cursor = Cursor::open(txn, table.records(), branch, None)?;
            while total < max && cursor.next()?.is_some() {
                total += 1;
            }
        }
        if total >= max {
            break;
        }
    }
    Ok(total.min(max))
}

impl Branch {
    pub(crate) fn new(source: Source, range: KeyRange) -> Branch {
        Branch { source, reach: Reach::Range(range), reverse: false, guard: None }
    }

    pub(crate) fn tree(&self) -> Tree {
        match self.source {
            Source::Primary => Tree::Primary,
            Source::Index { .. } => Tree::Index,
        }
    }

    pub(crate) fn handle(&self, records: Handle) -> Handle {
        match &self.source {
            Source::Primary => records,
            Source::Index { index, .. } => index.entries,
        }
    }

    /// Whether an index entry with this encoded value is read and may be wanted.
    pub(crate) fn covers(&self, value: &[u8]) -> bool {
        self.reach.contains(value) && self.passes(value)
    }

    /// Whether an encoded value may meet the conditions on it.
    pub(crate) fn passes(&self, value: &[u8]) -> bool {
        let Source::Index { checks, .. } = &self.source else { return true };
        checks.is_empty()
            || crate::encode::decode(value).is_none_or(|decoded| {
                let may =
                    |(comparator, value): &(_, _)| filter::may_hold(&decoded, *comparator, value);
                checks.iter().all(may)
            })
    }
}

impl Reach {
    fn contains(&self, value: &[u8]) -> bool {
        match self {
            Reach::Range(range) => range.contains(value),
            Reach::Points(points) => {
                points.binary_search_by(|point| point.as_slice().cmp(value)).is_ok()
            }
            Reach::Related(_) => false,
        }
    }

    pub(crate) fn is_everything(&self) -> bool {
        matches!(self, Reach::Range(range) if *range == KeyRange::all())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |branches: &[Branch]| {
            branches.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
        };
        match self.branches.as_slice() {
            [] => f.write_str("nothing")?,
            [one] => one.fmt(f)?,
            more => write!(f, "union of {}", list(more))?,
        }
        if !self.intersections.is_empty() {
            write!(f, ", intersect {}", list(&self.intersections))?;
        }
        if !self.residual.is_empty() {
            f.write_str(", filter")?;
        }
        if !self.sort.is_empty() {
            f.write_str(", sort")?;
        }
        Ok(())
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Primary => f.write_str("primary key ")?,
            Source::Index { index, .. } => write!(f, "index {} ", index.attribute)?,
        }
        match &self.reach {
            Reach::Range(_) if self.reach.is_everything() => f.write_str("scan")?,
            Reach::Range(_) => f.write_str("range")?,
            Reach::Points(points) => write!(f, "at {} values", points.len())?,
            Reach::Related(pending) => write!(f, "for {pending}")?,
        }
        f.write_str(if self.reverse { " backwards" } else { "" })
    }
}
