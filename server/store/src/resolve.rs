//! A branch whose values are those of related records: they are found first, by a query of their
//! own, and then read like any other values.

use std::fmt;

use crate::bounds::{KeyRange, Tree};
use crate::database::ReadTxn;
use crate::encode;
use crate::error::Error;
use crate::node::{Fields, Node, Values};
use crate::plan::{Branch, Reach, Source};
use crate::query::{Budget, QueryRun, Step};
use crate::scalar::{self, Scalar};

/// Values that are held at most; when related records have more, the table is read instead and its
/// records are tested one by one.
const VALUES_MAX: usize = 100_000;

/// Related records to be found, and the values collected so far.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The query for the related records.
    run: QueryRun,
    /// Its one field is the attribute whose values are collected.
    foreign: Fields,
    /// What the records of the branch must meet, should the values not tell it.
    test: Node,
    values: Vec<Vec<u8>>,
    /// Whether a value stands for others, too.
    is_cut: bool,
}

impl Pending {
    pub(crate) fn new(run: QueryRun, foreign: Fields, test: Node) -> Pending {
        Pending { run, foreign, test, values: Vec::new(), is_cut: false }
    }

    /// Entries that are read to find the related records, counted up to `max`.
    pub(crate) fn count(&self, txn: &ReadTxn<'_>, max: usize) -> Result<usize, Error> {
        self.run.plan().count(self.run.table(), txn, max)
    }

    pub(crate) fn run(&self) -> &QueryRun {
        &self.run
    }

    /// Finds more of the related records.
    fn step(&mut self, tree: Tree, txn: &ReadTxn<'_>, budget: Budget) -> Result<Step, Error> {
        let Pending { run, foreign, values, is_cut, .. } = self;
        let mut fields = Values::default();
        let step = run.step(txn, budget, &mut |record| {
            foreign.extract(record.body, &mut fields);
            let Some(raw) = fields.get(0) else { return };
            scalar::any(raw, foreign.kind(0), |scalar| {
                if scalar == Scalar::Null {
                    return false;
                }
                match tree {
                    Tree::Primary => values.extend(scalar.key()),
                    Tree::Index => values.push(scalar.encoded()),
                }
                *is_cut |= tree == Tree::Index
                    && matches!(&scalar, Scalar::String(text) if encode::is_cut(text.as_bytes()));
                false
            });
        })?;
        if values.len() > VALUES_MAX {
            values.sort_unstable();
            values.dedup();
        }
        Ok(step)
    }
}

impl Branch {
    /// Goes on finding the related records that the branch waits for, if it does. Once they are
    /// found, gives back what the branch's records have still to be tested for.
    pub(crate) fn resolve(
        &mut self,
        txn: &ReadTxn<'_>,
        budget: Budget,
    ) -> Result<(Step, Option<Node>), Error> {
        let tree = self.tree();
        let Reach::Related(pending) = &mut self.reach else { return Ok((Step::Done, None)) };
        let step = pending.step(tree, txn, budget)?;
        let is_full = pending.values.len() > VALUES_MAX;
        if step == Step::More && !is_full {
            return Ok((Step::More, None));
        }
        // in a union the branch's guard tests its records
        let is_tested = self.guard.is_some() || !(is_full || pending.is_cut);
        let test = (!is_tested).then(|| pending.test.clone());
        if is_full {
            self.source = Source::Primary;
            self.reach = Reach::Range(KeyRange::all());
        } else {
            let mut values = std::mem::take(&mut pending.values);
            values.sort_unstable();
            values.dedup();
            self.reach = Reach::Points(values);
        }
        Ok((Step::Done, test))
    }
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by ({})", self.run.table().name(), self.run.plan())
    }
}
