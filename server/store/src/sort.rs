//! Sorting the records of a query in memory: sort values and keys only, within a limit.
//!
//! A record without the attribute sorts as null, first. Of an array, and of several related
//! records, the least value counts, or the greatest when descending. Equal records come by primary key (a key of more than 400 bytes by
//! its hash), in the direction of the last sort key, as an index read in order gives them.

use std::collections::BinaryHeap;

use crate::encode;
use crate::error::Error;
use crate::index;
use crate::join::{Hop, Lookups};
use crate::key::Key;
use crate::node::{Fields, Values};
use crate::plan::{Path, Plan, SortField};
use crate::scalar;
use crate::scan::Hit;

/// Collects keys; with `keep`, only the first so many in order.
#[derive(Debug)]
pub(crate) struct Sorter {
    heap: BinaryHeap<Entry>,
    keep: Option<usize>,
    max: usize,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    order: Vec<u8>,
    found: Found,
}

/// A record that meets the query, or did when it had this version.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) key: Vec<u8>,
    pub(crate) version: u64,
}

impl Sorter {
    /// `wanted` records from the start of the order are needed, all if `None`; never more than
    /// `max` are held.
    pub(crate) fn new(wanted: Option<usize>, max: usize) -> Sorter {
        Sorter { heap: BinaryHeap::new(), keep: wanted.filter(|wanted| *wanted <= max), max }
    }

    /// Adds a record with these field values.
    ///
    /// # Errors
    /// [`Error::SortTooLarge`].
    pub(crate) fn push<'t>(
        &mut self,
        plan: &Plan,
        values: &Values<'t>,
        hit: &Hit<'t>,
        lookups: &Lookups<'t>,
    ) -> Result<(), Error> {
        let full = self.heap.len() >= self.keep.unwrap_or(self.max);
        if full && self.keep.is_none() {
            return Err(Error::SortTooLarge { max: self.max });
        }
        let order = order(plan, values, hit.key, lookups)?;
        let found = || Found { key: hit.key.to_vec(), version: hit.record.meta.version };
        if full {
            match self.heap.peek_mut() {
                Some(mut last) if order < last.order => {
                    *last = Entry { order, found: found() };
                }
                _ => {}
            }
        } else {
            self.heap.push(Entry { order, found: found() });
        }
        Ok(())
    }

    /// What was found, in order.
    pub(crate) fn finish(self) -> std::vec::IntoIter<Found> {
        let all: Vec<Found> =
            self.heap.into_sorted_vec().into_iter().map(|entry| entry.found).collect();
        all.into_iter()
    }
}

/// Bytes that sort as the record does.
fn order<'t>(
    plan: &Plan,
    values: &Values<'t>,
    key: &[u8],
    lookups: &Lookups<'t>,
) -> Result<Vec<u8>, Error> {
    let mut order = Vec::with_capacity(32);
    let mut last_descending = false;
    for field in &plan.sort {
        let start = order.len();
        match field {
            SortField::PrimaryKey { descending } => {
                encode::push_terminated(&mut order, key);
                last_descending = *descending;
            }
            SortField::Field { path, descending } => {
                let mut end = None;
                let Path { hops, field } = path;
                reach(hops, *field, &plan.fields, values, lookups, *descending, &mut end)?;
                match end {
                    Some(value) => order.extend_from_slice(&value),
                    None => encode::push_null(&mut order),
                }
                last_descending = *descending;
            }
        }
        if last_descending {
            invert(&mut order[start..]);
        }
    }
    if !matches!(plan.sort.last(), Some(SortField::PrimaryKey { .. })) {
        let start = order.len();
        encode::push_terminated(&mut order, &index::tail(&Key::from_stored(key)));
        if last_descending {
            invert(&mut order[start..]);
        }
    }
    Ok(order)
}

/// Finds the least encoded value of an attribute at the end of a path, or the greatest.
fn reach<'t>(
    hops: &[Hop],
    field: usize,
    fields: &Fields,
    values: &Values<'t>,
    lookups: &Lookups<'t>,
    greatest: bool,
    end: &mut Option<Vec<u8>>,
) -> Result<(), Error> {
    let Some((hop, rest)) = hops.split_first() else {
        let raw = values.get(field);
        let mut all = scalar::encodings(raw, fields.kind(field));
        let found = if greatest { all.pop() } else { all.into_iter().next() };
        if let Some(found) = found {
            let is_further = |end: &Vec<u8>| if greatest { found > *end } else { found < *end };
            if end.as_ref().is_none_or(is_further) {
                *end = Some(found);
            }
        }
        return Ok(());
    };
    hop.any(values, lookups, &mut |values| {
        reach(rest, field, &hop.fields, values, lookups, greatest, end).map(|()| false)
    })?;
    Ok(())
}

/// Turns the order round; no encoding is a prefix of another.
fn invert(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = !*byte;
    }
}
