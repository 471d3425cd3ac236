//! Running a query in slices, each with a read transaction of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::vec;

use crate::database::ReadTxn;
use crate::error::Error;
use crate::filter::Filter;
use crate::index::Index;
use crate::intersect::Narrowing;
use crate::join::{Join, Lookups};
use crate::key::Key;
use crate::node::Values;
use crate::plan::Plan;
use crate::record::Record;
use crate::scan::{Cursor, Examined, Examiner};
use crate::sort::{Found, Sorter};
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
    /// How much it may read and hold.
    pub limits: Limits,
}

impl Query {
    /// Records that are needed from the start of the order, `None` for all.
    pub(crate) fn wanted(&self) -> Option<usize> {
        self.limit.map(|limit| limit.saturating_add(self.offset))
    }
}

/// How much one query may read and hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Records to hold to sort them.
    pub sort_records_max: usize,
    /// Records, related ones too, to read without handing them out; 0: any number. One that has
    /// expired does not count.
    pub scan_records_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { sort_records_max: 100_000, scan_records_max: 0 }
    }
}

/// One attribute to sort by. A record without it sorts as null, before all others; of an array
/// the least element counts, or the greatest when descending.
#[derive(Debug, Clone, PartialEq)]
pub struct Sort {
    /// The relationships that lead to the record with the attribute, none for the record itself. Of
    /// several related records the least value counts, or the greatest when descending.
    pub via: Vec<Join>,
    /// Name of a declared attribute.
    pub attribute: String,
    /// Whether the greatest comes first.
    pub descending: bool,
}

/// Bytes of bodies that one step reads, wanted or not, before it returns.
const EXAMINED_BYTES_MAX: usize = 16 << 20;

/// A step for which expressions are evaluated ends with the record that takes it beyond this time.
const EVALUATING_TIME_MAX: Duration = Duration::from_millis(20);

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
    limits: Limits,
    narrowing: Narrowing,
    /// Records read that were not handed out.
    in_vain: usize,
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
    Emitting(vec::IntoIter<Found>),
    Done,
}

/// What a step has used of its budget.
struct Spent {
    budget: Budget,
    rows: usize,
    bytes: usize,
    /// When it ends, where records cost more than their number tells.
    until: Option<Instant>,
}

impl QueryRun {
    pub(crate) fn plan_query(table: Table, query: &Query) -> Result<QueryRun, Error> {
        let plan = Plan::new(&table, query)?;
        let Query { offset, limit, limits, .. } = *query;
        let sorter =
            (!plan.sort.is_empty()).then(|| Sorter::new(query.wanted(), limits.sort_records_max));
        let phase = match limit {
            Some(0) => Phase::Done,
            _ => Phase::Scanning { branch: 0, after: None, sorter },
        };
        let (narrowing, in_vain) = (Narrowing::default(), 0);
        Ok(QueryRun { table, plan, offset, limit, limits, narrowing, in_vain, phase })
    }

    /// Refuses at once what would have to search a table that is too large. With a limit enough
    /// may be found before.
    pub(crate) fn refuse_search(&self) -> Result<(), Error> {
        let max = self.limits.scan_records_max;
        if max == 0 || self.limit.is_some() || !self.plan.searches_table() {
            return Ok(());
        }
        let is_larger = self.table.has_more_than(max as u64, &self.table.shared().read()?)?;
        if is_larger { Err(self.too_large()) } else { Ok(()) }
    }

    fn too_large(&self) -> Error {
        let table = self.table.name().to_owned();
        Error::ScanTooLarge { table, max: self.limits.scan_records_max }
    }

    /// How the query is run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// Hands records to `sink` until all are, or the budget is spent. Records point into the
    /// transaction: copy what is to outlive it.
    ///
    /// # Errors
    /// [`Error::SortTooLarge`], [`Error::ScanTooLarge`], [`Error::IndexChanged`],
    /// [`Error::WrongDatabase`], storage errors; the query cannot go on after one.
    pub fn step<'t>(
        &mut self,
        txn: &'t ReadTxn<'_>,
        budget: Budget,
        sink: &mut dyn FnMut(Record<'t>),
    ) -> Result<Step, Error> {
        self.table.check(txn)?;
        self.check_indexes()?;
        let until = self.plan.evaluates().then(|| Instant::now() + EVALUATING_TIME_MAX);
        let mut spent = Spent { budget, rows: 0, bytes: 0, until };
        loop {
            let step = match &self.phase {
                Phase::Scanning { branch, .. } => {
                    let branch = *branch;
                    match self.resolve(branch, txn, budget)? {
                        Step::More => Step::More,
                        Step::Done => self.scan(txn, &mut spent, sink)?,
                    }
                }
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
        for (table, index) in &self.plan.used {
            let is_same = |i: &Arc<Index>| i.ready && i.generation == index.generation;
            if !table.state().indexes.iter().any(is_same) {
                return Err(Error::IndexChanged { attribute: index.attribute.clone() });
            }
        }
        Ok(())
    }

    /// Finds the related records that a branch waits for.
    fn resolve(&mut self, at: usize, txn: &ReadTxn<'_>, budget: Budget) -> Result<Step, Error> {
        let Some(branch) = self.plan.branches.get_mut(at) else { return Ok(Step::Done) };
        let (step, test) = branch.resolve(txn, budget)?;
        self.plan.residual.extend(test);
        Ok(step)
    }

    /// Goes on with a branch; `Done` when it or the phase has come to its end.
    fn scan<'t>(
        &mut self,
        txn: &'t ReadTxn<'_>,
        spent: &mut Spent,
        sink: &mut dyn FnMut(Record<'t>),
    ) -> Result<Step, Error> {
        let Phase::Scanning { branch, after, sorter } = &mut self.phase else {
            return Ok(Step::Done);
        };
        let Some(scanned) = self.plan.branches.get(*branch) else {
            self.phase = match sorter.take() {
                Some(sorter) => Phase::Emitting(sorter.finish()),
                None => Phase::Done,
            };
            return Ok(Step::Done);
        };
        let records = self.table.records();
        let mut examiner = Examiner::new(&self.plan, *branch, txn, records);
        let mut cursor = Cursor::open(txn, records, scanned, after.as_deref())?;
        let max = match self.limits.scan_records_max {
            0 => usize::MAX,
            max => max,
        };
        while let Some((key, data)) = cursor.next()? {
            spent.rows += 1;
            let examined = examiner.examine(key, data, &self.narrowing)?;
            let is_wanted = matches!(examined, Examined::Wanted(_));
            let is_absent = matches!(examined, Examined::Expired);
            let is_given = match examined {
                Examined::Unwanted | Examined::Expired => false,
                Examined::Wanted(hit) => match sorter {
                    Some(sorter) => {
                        sorter.push(&self.plan, &examiner.values, &hit, &examiner.lookups)?;
                        false
                    }
                    None if self.offset > 0 => {
                        self.offset -= 1;
                        false
                    }
                    None => {
                        spent.bytes += hit.record.body.len();
                        sink(hit.record);
                        true
                    }
                },
            };
            if is_given && count_down(&mut self.limit) {
                self.phase = Phase::Done;
                return Ok(Step::Done);
            }
            let looked_up = examiner.lookups.take_read();
            spent.rows += looked_up;
            self.in_vain += looked_up + usize::from(!is_given && !is_absent);
            if self.in_vain > max {
                return Err(self.too_large());
            }
            if self.narrowing.note(is_wanted) {
                self.narrowing.collect(&self.plan, txn, records)?;
            }
            if spent.is_over() || examiner.bytes >= EXAMINED_BYTES_MAX {
                *after = Some(key.to_vec());
                return Ok(Step::More);
            }
        }
        *branch += 1;
        *after = None;
        Ok(Step::Done)
    }

    /// Reads the sorted records again; one that is gone meanwhile, or does not meet the query any
    /// more, is left out.
    fn emit<'t>(
        &mut self,
        txn: &'t ReadTxn<'_>,
        spent: &mut Spent,
        sink: &mut dyn FnMut(Record<'t>),
    ) -> Result<Step, Error> {
        let Phase::Emitting(all) = &mut self.phase else { return Ok(Step::Done) };
        let (lookups, mut values) = (Lookups::new(txn), Values::default());
        while let Some(found) = all.nth(std::mem::take(&mut self.offset)) {
            spent.rows += 1;
            if let Some(record) = self.table.get(txn, &Key::from_stored(&found.key))?
                && (record.meta.version == found.version
                    || self.plan.holds(record.body, &mut values, &lookups)?)
            {
                spent.bytes += record.body.len();
                sink(record);
                if count_down(&mut self.limit) {
                    break;
                }
            }
            spent.rows += lookups.take_read();
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
        self.rows >= self.budget.rows_max
            || self.bytes >= self.budget.bytes_max
            || self.until.is_some_and(|until| until <= Instant::now())
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
