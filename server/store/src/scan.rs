//! Reading one branch of a plan: a part of a tree, entry by entry, each with its record.

use std::ops::Bound;

use heed::types::Bytes;
use heed::{RoRange, RoRevRange};

use crate::bounds::Tree;
use crate::database::ReadTxn;
use crate::encode;
use crate::env::Handle;
use crate::error::Error;
use crate::index::Entry;
use crate::intersect::Narrowing;
use crate::join::Lookups;
use crate::node::{Node, Values};
use crate::plan::{Branch, Plan, Reach, Source};
use crate::record::{self, Record};
use crate::scalar;

/// Key and data of one entry.
type Pair<'t> = (&'t [u8], &'t [u8]);
/// Where a scan begins and ends.
type Bounds<'b> = (Bound<&'b [u8]>, Bound<&'b [u8]>);

/// A position in what a branch reads, moving in the branch's direction.
pub(crate) enum Cursor<'t, 'b> {
    Forward(RoRange<'t, Bytes, Bytes>),
    Backward(RoRevRange<'t, Bytes, Bytes>),
    Points(Points<'t, 'b>),
}

impl<'t, 'b> Cursor<'t, 'b> {
    /// Starts at the branch's beginning, or after the entry with the key `after`. A branch that
    /// waits for related records has no entries yet.
    pub(crate) fn open(
        txn: &'t ReadTxn<'_>,
        records: Handle,
        branch: &'b Branch,
        after: Option<&'b [u8]>,
    ) -> Result<Cursor<'t, 'b>, Error> {
        let tree = branch.handle(records);
        let range = match &branch.reach {
            Reach::Range(range) => range,
            Reach::Points(values) => {
                let points = Points::open(txn, tree, branch.tree(), values, after);
                return points.map(Cursor::Points);
            }
            Reach::Related(_) => {
                let points = Points::open(txn, tree, branch.tree(), &[], None);
                return points.map(Cursor::Points);
            }
        };
        let lower = range.lower.as_ref().map(Vec::as_slice);
        let upper = range.upper.as_ref().map(Vec::as_slice);
        let bounds: Bounds<'_> = match after {
            Some(after) if branch.reverse => (lower, Bound::Excluded(after)),
            Some(after) => (Bound::Excluded(after), upper),
            None => (lower, upper),
        };
        Ok(if branch.reverse {
            Cursor::Backward(tree.rev_range(txn.inner(), &bounds)?)
        } else {
            Cursor::Forward(tree.range(txn.inner(), &bounds)?)
        })
    }

    /// The next entry's key and data.
    pub(crate) fn next(&mut self) -> Result<Option<Pair<'t>>, Error> {
        let item = match self {
            Cursor::Forward(range) => range.next(),
            Cursor::Backward(range) => range.next(),
            Cursor::Points(points) => return points.next(),
        };
        Ok(item.transpose()?)
    }
}

/// The entries with one value, then those with the next.
pub(crate) struct Points<'t, 'b> {
    txn: &'t crate::env::Reading,
    handle: Handle,
    tree: Tree,
    values: std::slice::Iter<'b, Vec<u8>>,
    /// The entries of the value reached.
    entries: Option<RoRange<'t, Bytes, Bytes>>,
}

impl<'t, 'b> Points<'t, 'b> {
    fn open(
        txn: &'t ReadTxn<'_>,
        handle: Handle,
        tree: Tree,
        values: &'b [Vec<u8>],
        after: Option<&[u8]>,
    ) -> Result<Points<'t, 'b>, Error> {
        let mut points =
            Points { txn: txn.inner(), handle, tree, values: values.iter(), entries: None };
        if let Some(after) = after {
            let length = match tree {
                Tree::Primary => after.len(),
                Tree::Index => encode::value_length(after).unwrap_or(after.len()),
            };
            let reached = &after[..length];
            let from = values.partition_point(|value| value.as_slice() < reached);
            let is_within = values.get(from).is_some_and(|value| value == reached);
            points.values = values[from + usize::from(is_within)..].iter();
            if is_within && tree == Tree::Index {
                points.entries = Some(points.range(reached, Bound::Excluded(after))?);
            }
        }
        Ok(points)
    }

    /// Entries of a value from `lower` on.
    fn range(&self, value: &[u8], lower: Bound<&[u8]>) -> Result<RoRange<'t, Bytes, Bytes>, Error> {
        // an encoded value is no prefix of another, so what follows it is the primary key
        let next = encode::successor(value);
        let upper = match self.tree {
            Tree::Primary => Bound::Included(value),
            Tree::Index => next.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        };
        Ok(self.handle.range(self.txn, &(lower, upper))?)
    }

    fn next(&mut self) -> Result<Option<Pair<'t>>, Error> {
        loop {
            if let Some(pair) = self.entries.as_mut().and_then(Iterator::next) {
                return Ok(Some(pair?));
            }
            let Some(value) = self.values.next() else { return Ok(None) };
            self.entries = Some(self.range(value, Bound::Included(value))?);
        }
    }
}

/// A record that was found, with its key's bytes.
pub(crate) struct Hit<'t> {
    pub(crate) key: &'t [u8],
    pub(crate) record: Record<'t>,
}

impl<'t> Hit<'t> {
    fn wanted_if(self, meets: bool) -> Examined<'t> {
        if meets { Examined::Wanted(self) } else { Examined::Unwanted }
    }
}

/// What an entry leads to.
pub(crate) enum Examined<'t> {
    /// A record that meets the query and that no earlier entry has given.
    Wanted(Hit<'t>),
    /// Another one.
    Unwanted,
    /// One whose time has passed, so that it reads as absent.
    Expired,
}

/// Tests entries of one branch of a plan.
pub(crate) struct Examiner<'p, 't> {
    plan: &'p Plan,
    branch: usize,
    records: Handle,
    pub(crate) lookups: Lookups<'t>,
    /// Bytes of the bodies looked at.
    pub(crate) bytes: usize,
    /// The fields of the record looked at last.
    pub(crate) values: Values<'t>,
}

impl<'p, 't> Examiner<'p, 't> {
    /// For the branch at this position.
    pub(crate) fn new(
        plan: &'p Plan,
        branch: usize,
        txn: &'t ReadTxn<'_>,
        records: Handle,
    ) -> Examiner<'p, 't> {
        let lookups = Lookups::new(txn);
        Examiner { plan, branch, records, lookups, bytes: 0, values: Values::default() }
    }

    /// Reads the entry's record and tests it.
    pub(crate) fn examine(
        &mut self,
        key: &'t [u8],
        data: &'t [u8],
        narrowing: &Narrowing,
    ) -> Result<Examined<'t>, Error> {
        let plan = self.plan;
        let Some(branch) = plan.branches.get(self.branch) else { return Ok(Examined::Unwanted) };
        let Source::Index { field, .. } = &branch.source else {
            if !narrowing.may_have(key) {
                return Ok(Examined::Unwanted);
            }
            let Some(record) = record::read_live(data)? else { return Ok(Examined::Expired) };
            let hit = Hit { key, record };
            let meets = self.meets(branch, &hit, false)?;
            return Ok(hit.wanted_if(meets));
        };
        let entry = Entry::read(key, data)?;
        if !branch.passes(entry.value) || !narrowing.may_have(entry.key) {
            return Ok(Examined::Unwanted);
        }
        let Some(value) = self.records.get(self.lookups.txn().inner(), entry.key)? else {
            return Err(Error::Damaged { what: String::from("an index entry has no record") });
        };
        let Some(record) = record::read_live(value)? else { return Ok(Examined::Expired) };
        let hit = Hit { key: entry.key, record };
        let meets = self.meets(branch, &hit, entry.is_element)?
            && (!entry.is_element || self.is_first(branch, *field, entry.value));
        Ok(hit.wanted_if(meets))
    }

    /// Reads the record's fields, if the plan or the caller looks at them, and tests them.
    fn meets(&mut self, branch: &Branch, hit: &Hit<'t>, needs_fields: bool) -> Result<bool, Error> {
        let plan = self.plan;
        self.bytes = self.bytes.saturating_add(hit.record.body.len());
        if !needs_fields && !plan.looks_at_records() {
            return Ok(true);
        }
        plan.fields.extract(hit.record.body, &mut self.values);
        let holds = |node: &Node| node.holds(&plan.fields, &self.values, &self.lookups);
        if !Node::all(&plan.residual, &plan.fields, &self.values, &self.lookups)?
            || !branch.guard.as_ref().map_or(Ok(true), holds)?
        {
            return Ok(false);
        }
        for guard in plan.branches[..self.branch].iter().filter_map(|b| b.guard.as_ref()) {
            if holds(guard)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether, of the entries of one record that the scan passes, this one comes first.
    fn is_first(&self, branch: &Branch, field: usize, value: &[u8]) -> bool {
        let Some(raw) = self.values.get(field) else { return false };
        let mut other = Vec::new();
        let has_earlier = scalar::any(raw, self.plan.fields.kind(field), |scalar| {
            other.clear();
            scalar.push(&mut other);
            let order = other.as_slice().cmp(value);
            let is_earlier = if branch.reverse { order.is_gt() } else { order.is_lt() };
            is_earlier && branch.covers(&other)
        });
        !has_earlier
    }
}
