//! The ways to find the records that meet the conditions on one attribute, and how good each is.

use std::sync::Arc;

use crate::bounds::{self, KeyRange, Tree};
use crate::filter::{Comparator, Filter, Value};
use crate::index::Index;
use crate::plan::Branch;

/// The record with a key.
pub(crate) const RANK_KEY: u8 = 0;
/// A range that related records name: how wide it is, counting tells.
pub(crate) const RANK_JOIN: u8 = 6;
/// A range for each branch of an OR.
pub(crate) const RANK_UNION: u8 = 7;
/// The whole of an index, or of one type in it.
pub(crate) const RANK_INDEX_SCAN: u8 = 8;

/// A way to find the records that meet some conditions.
#[derive(Debug)]
pub(crate) struct Access {
    /// How good it is before anything is counted: less is better.
    pub(crate) rank: u8,
    /// The attribute whose tree is read; none for a union.
    pub(crate) attribute: Option<String>,
    pub(crate) branches: Vec<Branch>,
    /// Positions of the conditions that need no test any more.
    pub(crate) covered: Vec<usize>,
}

/// What the conditions on one attribute allow.
pub(crate) enum Allowed {
    /// No value meets them.
    Nothing,
    Range(Range),
    /// They narrow nothing.
    All,
}

/// A range of a tree for the conditions on an attribute.
pub(crate) struct Range {
    pub(crate) rank: u8,
    pub(crate) range: KeyRange,
    pub(crate) covered: Vec<usize>,
    /// Conditions that entries are tested against before their record is read.
    pub(crate) checks: Vec<(Comparator, Value)>,
}

/// One condition on the attribute that is looked at.
struct Part {
    at: usize,
    comparator: Comparator,
    value: Value,
    range: KeyRange,
}

/// The range for the conditions on one attribute, in its index or, without one, among the primary
/// keys. Two bounds are one range unless the attribute can be an array, where each may be met by
/// another element.
pub(crate) fn on_attribute(
    conditions: &[Filter],
    attribute: &str,
    index: Option<&Arc<Index>>,
) -> Allowed {
    let tree = if index.is_some() { Tree::Index } else { Tree::Primary };
    let mut parts = Vec::new();
    for (at, comparator, value) in on(conditions, attribute) {
        let Some(range) = bounds::range(tree, comparator, value) else { return Allowed::Nothing };
        parts.push(Part { at, comparator, value: value.clone(), range });
    }
    if index.is_some_and(|index| index.kind.is_multiple()) {
        parts.sort_by_key(|part| strength(part.comparator));
        parts.truncate(1);
    }
    let rank = rank(tree, &parts);
    if tree == Tree::Primary && rank >= RANK_INDEX_SCAN {
        return Allowed::All;
    }
    let covered = parts.iter().filter(|part| part.range.exact).map(|part| part.at).collect();
    let checks = parts
        .iter()
        .filter(|part| !part.range.exact)
        .map(|part| (part.comparator, part.value.clone()))
        .collect();
    let range = parts.into_iter().map(|part| part.range).reduce(KeyRange::intersect);
    Allowed::Range(Range { rank, range: range.unwrap_or_else(KeyRange::all), covered, checks })
}

/// The attributes of the table itself that are compared, each once.
pub(crate) fn attributes(conditions: &[Filter]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for condition in conditions {
        if let Filter::Compare { attribute, .. } = condition
            && !names.contains(&attribute.as_str())
        {
            names.push(attribute);
        }
    }
    names
}

fn on<'f>(
    conditions: &'f [Filter],
    wanted: &str,
) -> impl Iterator<Item = (usize, Comparator, &'f Value)> {
    conditions.iter().enumerate().filter_map(move |(at, condition)| match condition {
        Filter::Compare { attribute, comparator, value } if attribute == wanted => {
            Some((at, *comparator, value))
        }
        _ => None,
    })
}

/// How much a comparator narrows: less is more.
fn strength(comparator: Comparator) -> u8 {
    match comparator {
        Comparator::Equal => 0,
        Comparator::StartsWith => 1,
        Comparator::Less
        | Comparator::LessEqual
        | Comparator::Greater
        | Comparator::GreaterEqual => 2,
        Comparator::NotEqual | Comparator::EndsWith | Comparator::Contains => 3,
    }
}

fn rank(tree: Tree, parts: &[Part]) -> u8 {
    let best = parts.iter().map(|part| strength(part.comparator)).min().unwrap_or(3);
    let bounds = parts.iter().filter(|part| strength(part.comparator) == 2).count();
    let rank = match best {
        0 => RANK_KEY,
        1 => 2,
        2 if bounds > 1 => 2,
        2 => 4,
        _ => return RANK_INDEX_SCAN,
    };
    rank + u8::from(tree == Tree::Index)
}
