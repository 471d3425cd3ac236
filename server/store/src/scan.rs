//! Reading one branch of a plan: a range of a tree, entry by entry, each with its record.

use std::ops::Bound;

use heed::types::Bytes;
use heed::{RoRange, RoRevRange};

use crate::database::ReadTxn;
use crate::encode;
use crate::env::Handle;
use crate::error::Error;
use crate::filter;
use crate::index::Entry;
use crate::json;
use crate::plan::{Branch, Plan, Source};
use crate::record::{self, Record};
use crate::scalar;

/// Key and data of one entry.
type Pair<'t> = (&'t [u8], &'t [u8]);

/// A position in a range, moving in the branch's direction.
pub(crate) enum Cursor<'t> {
    Forward(RoRange<'t, Bytes, Bytes>),
    Backward(RoRevRange<'t, Bytes, Bytes>),
}

impl<'t> Cursor<'t> {
    /// Starts at the branch's beginning, or after the entry with the key `after`.
    pub(crate) fn open(
        txn: &'t ReadTxn<'_>,
        records: Handle,
        branch: &Branch,
        after: Option<&[u8]>,
    ) -> Result<Cursor<'t>, Error> {
        let tree = match &branch.source {
            Source::Primary => records,
            Source::Index { index, .. } => index.entries,
        };
        let bound = |bound: &'_ Bound<Vec<u8>>| bound.clone();
        let (mut lower, mut upper) = (bound(&branch.range.lower), bound(&branch.range.upper));
        if let Some(after) = after {
            let resumed = Bound::Excluded(after.to_vec());
            if branch.reverse {
                upper = resumed;
            } else {
                lower = resumed;
            }
        }
        let range = (lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
        Ok(if branch.reverse {
            Cursor::Backward(tree.rev_range(txn.inner(), &range)?)
        } else {
            Cursor::Forward(tree.range(txn.inner(), &range)?)
        })
    }

    /// The next entry's key and data.
    pub(crate) fn next(&mut self) -> Result<Option<Pair<'t>>, Error> {
        let item = match self {
            Cursor::Forward(range) => range.next(),
            Cursor::Backward(range) => range.next(),
        };
        Ok(item.transpose()?)
    }
}

/// A record that was found, with its key's bytes.
pub(crate) struct Hit<'t> {
    pub(crate) key: &'t [u8],
    pub(crate) record: Record<'t>,
}

/// Tests entries of one branch of a plan.
pub(crate) struct Examiner<'p, 't> {
    pub(crate) plan: &'p Plan,
    pub(crate) branch: usize,
    pub(crate) txn: &'t ReadTxn<'t>,
    pub(crate) records: Handle,
    /// Bytes of the bodies looked at.
    pub(crate) bytes: usize,
    /// The fields of the record looked at last.
    pub(crate) values: Vec<Option<&'t [u8]>>,
}

impl<'t> Examiner<'_, 't> {
    /// The entry's record if it meets the query and no earlier entry has given it.
    pub(crate) fn examine(
        &mut self,
        key: &'t [u8],
        data: &'t [u8],
    ) -> Result<Option<Hit<'t>>, Error> {
        let plan = self.plan;
        let Some(branch) = plan.branches.get(self.branch) else { return Ok(None) };
        let Source::Index { field, checks, .. } = &branch.source else {
            let Some(record) = record::read_live(data)? else { return Ok(None) };
            let hit = Hit { key, record };
            return Ok(self.meets(branch, &hit).then_some(hit));
        };
        let entry = Entry::read(key, data)?;
        if !passes(entry.value, checks) {
            return Ok(None);
        }
        let Some(value) = self.records.get(self.txn.inner(), entry.key)? else {
            return Err(Error::Damaged { what: String::from("an index entry has no record") });
        };
        let Some(record) = record::read_live(value)? else { return Ok(None) };
        let hit = Hit { key: entry.key, record };
        let meets = self.meets(branch, &hit)
            && (!entry.is_element || self.is_first(branch, *field, checks, entry.value));
        Ok(meets.then_some(hit))
    }

    fn meets(&mut self, branch: &Branch, hit: &Hit<'t>) -> bool {
        let plan = self.plan;
        self.bytes = self.bytes.saturating_add(hit.record.body.len());
        json::extract(hit.record.body, &plan.names, &mut self.values);
        let holds = |node: &filter::Node| node.holds(&plan.fields, &self.values);
        plan.residual.iter().all(holds)
            && branch.guard.as_ref().is_none_or(holds)
            && !plan.branches[..self.branch].iter().filter_map(|b| b.guard.as_ref()).any(holds)
    }

    /// Whether, of the entries of one record that the scan passes, this one comes first.
    fn is_first(
        &self,
        branch: &Branch,
        field: usize,
        checks: &[(filter::Comparator, filter::Value)],
        value: &[u8],
    ) -> bool {
        let Some(raw) = self.values.get(field).copied().flatten() else { return false };
        let mut other = Vec::new();
        let has_earlier = scalar::any(raw, &self.plan.fields[field].kind, |scalar| {
            other.clear();
            scalar.push(&mut other);
            let order = other.as_slice().cmp(value);
            let is_earlier = if branch.reverse { order.is_gt() } else { order.is_lt() };
            is_earlier && branch.range.contains(&other) && passes(&other, checks)
        });
        !has_earlier
    }
}

/// Whether an encoded value may meet all of these.
fn passes(value: &[u8], checks: &[(filter::Comparator, filter::Value)]) -> bool {
    if checks.is_empty() {
        return true;
    }
    encode::decode(value).is_none_or(|decoded| {
        checks.iter().all(|(comparator, value)| filter::may_hold(&decoded, *comparator, value))
    })
}
