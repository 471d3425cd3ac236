//! Running a query in slices, each with a read transaction of its own.

use std::vec;

use crate::database::ReadTxn;
use crate::error::Error;
use crate::filter::Filter;
use crate::key::Key;
use crate::plan::{Plan, Source};
use crate::record::Record;
use crate::scan::{Cursor, Examiner};
use crate::sort::Sorter;
use crate::table::Table;

/// What to find, and in which order.
///
/// Without a sort, records come in the order of the primary key or of the index that is used.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    /// What records must meet; `None`: all.
    pub filter: Option<Filter>,
    /// Attributes to sort by, the most important first.
    pub sort: Vec<Sort>,
    /// Records to leave out at the start.
    pub offset: usize,
    /// Records to give at most.
    pub limit: Option<usize>,
    /// Only records whose key is text that begins with this.
    pub key_prefix: Option<String>,
}

/// One attribute to sort by. A record without it sorts as null, before all others; of an array
/// the least element counts, or the greatest when descending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    /// Name of a declared attribute.
    pub attribute: String,
    /// Whether the greatest comes first.
    pub descending: bool,
}

/// Bytes of bodies that one step reads, wanted or not, before it returns.
const EXAMINED_BYTES_MAX: usize = 16 << 20;

/// How much one step may do before it returns; it always does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Entries to examine, fewer when their records are large.
    pub rows_max: usize,
    /// Bytes of bodies to hand out.
    pub bytes_max: usize,
}

/// Whether a query goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Call again, with a fresh transaction.
    More,
    /// All records were handed out.
    Done,
}

/// A query under way. It holds its plan and its place, but no transaction, so what is written
/// between two steps may be seen or not; each record is whole all the same.
#[derive(Debug)]
pub struct QueryRun {
    table: Table,
    plan: Plan,
    offset: usize,
    limit: Option<usize>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Reading a branch of the plan, after the entry with this key.
    Scanning {
        branch: usize,
        after: Option<Vec<u8>>,
        sorter: Option<Sorter>,
    },
    /// Handing out sorted records.
    Emitting(vec::IntoIter<Vec<u8>>),
    Done,
}

/// What a step has used of its budget.
struct Spent {
    budget: Budget,
    rows: usize,
    bytes: usize,
}

impl QueryRun {
    pub(crate) fn plan_query(table: Table, query: &Query) -> Result<QueryRun, Error> {
        let plan = Plan::new(&table, query)?;
        let Query { offset, limit, .. } = *query;
        let max = table.shared().options.load().sort_records_max;
        let wanted = limit.map(|limit| limit.saturating_add(offset));
        let sorter = (!plan.sort.is_empty()).then(|| Sorter::new(wanted, max));
        let phase = match limit {
            Some(0) => Phase::Done,
            _ => Phase::Scanning { branch: 0, after: None, sorter },
        };
        Ok(QueryRun { table, plan, offset, limit, phase })
    }

    /// How the query is run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Hands records to `sink` until all are, or the budget is spent. Records point into the
    /// transaction: copy what is to outlive it.
    ///
    /// # Errors
    /// [`Error::SortTooLarge`], [`Error::IndexChanged`], [`Error::WrongDatabase`], storage errors;
    /// the query cannot go on after one.
    pub fn step<'t>(
        &mut self,
        txn: &'t ReadTxn<'_>,
        budget: Budget,
        sink: &mut dyn FnMut(Record<'t>),
    ) -> Result<Step, Error> {
        self.table.check(txn)?;
        self.check_indexes()?;
        let mut spent = Spent { budget, rows: 0, bytes: 0 };
        loop {
            let step = match self.phase {
                Phase::Scanning { .. } => self.scan(txn, &mut spent, sink)?,
                Phase::Emitting(_) => self.emit(txn, &mut spent, sink)?,
                Phase::Done => return Ok(Step::Done),
            };
            if step == Step::More {
                return Ok(Step::More);
            }
        }
    }

    /// An index that was cleared since the plan was made would silently give too little.
    fn check_indexes(&self) -> Result<(), Error> {
        let state = self.table.state();
        for branch in &self.plan.branches {
            if let Source::Index { index, .. } = &branch.source
                && !state.indexes.iter().any(|i| i.ready && i.generation == index.generation)
            {
                return Err(Error::IndexChanged { attribute: index.attribute.clone() });
            }
        }
        Ok(())
    }

    /// Goes on with the branches; `Done` when the phase has changed.
    fn scan<'t>(
        &mut self,
        txn: &'t ReadTxn<'_>,
        spent: &mut Spent,
        sink: &mut dyn FnMut(Record<'t>),
    ) -> Result<Step, Error> {
        let Phase::Scanning { branch, after, sorter } = &mut self.phase else {
            return Ok(Step::Done);
        };
        let records = self.table.records();
        let values = Vec::new();
        let mut examiner =
            Examiner { plan: &self.plan, branch: *branch, txn, records, bytes: 0, values };
        while let Some(scanned) = self.plan.branches.get(*branch) {
            examiner.branch = *branch;
            let mut cursor = Cursor::open(txn, records, scanned, after.as_deref())?;
            while let Some((key, data)) = cursor.next()? {
                spent.rows += 1;
                if let Some(hit) = examiner.examine(key, data)? {
                    if let Some(sorter) = sorter {
                        sorter.push(&self.plan, &examiner.values, hit.key)?;
                    } else if self.offset > 0 {
                        self.offset -= 1;
                    } else {
                        spent.bytes += hit.record.body.len();
                        sink(hit.record);
                        if count_down(&mut self.limit) {
                            self.phase = Phase::Done;
                            return Ok(Step::Done);
                        }
                    }
                }
                if spent.is_over() || examiner.bytes >= EXAMINED_BYTES_MAX {
                    *after = Some(key.to_vec());
                    return Ok(Step::More);
                }
            }
            *branch += 1;
            *after = None;
        }
        self.phase = match sorter.take() {
            Some(sorter) => Phase::Emitting(sorter.finish()),
            None => Phase::Done,
        };
        Ok(Step::Done)
    }

    /// Reads the sorted records again; one that is gone meanwhile is left out.
    fn emit<'t>(
        &mut self,
        txn: &'t ReadTxn<'_>,
        spent: &mut Spent,
        sink: &mut dyn FnMut(Record<'t>),
    ) -> Result<Step, Error> {
        let Phase::Emitting(keys) = &mut self.phase else { return Ok(Step::Done) };
        while let Some(key) = keys.nth(std::mem::take(&mut self.offset)) {
            spent.rows += 1;
            if let Some(record) = self.table.get(txn, &Key::from_stored(&key))? {
                spent.bytes += record.body.len();
                sink(record);
                if count_down(&mut self.limit) {
                    break;
                }
            }
            if spent.is_over() {
                return Ok(Step::More);
            }
        }
        self.phase = Phase::Done;
        Ok(Step::Done)
    }
}

impl Spent {
    fn is_over(&self) -> bool {
        self.rows >= self.budget.rows_max || self.bytes >= self.budget.bytes_max
    }
}

/// Counts one record; true when it was the last one wanted.
fn count_down(limit: &mut Option<usize>) -> bool {
    match limit {
        Some(left) => {
            *left = left.saturating_sub(1);
            *left == 0
        }
        None => false,
    }
}
