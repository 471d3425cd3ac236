//! From a query to its plan.
//!
//! Of the conditions that must all hold, one decides which tree is read: the primary key before
//! all else, then the range with the fewest entries, which are counted as far as needed to tell.
//! An OR whose every branch has an index is a union, and a condition on related records that can be
//! found by an index is a list of values. The ranges of other indexes may narrow what is read. The
//! order of an index is used when that beats sorting.

use std::sync::Arc;

use crate::access::{self, Access, Allowed, RANK_INDEX_SCAN, RANK_JOIN, RANK_KEY, RANK_UNION};
use crate::bounds::KeyRange;
use crate::database::ReadTxn;
use crate::error::Error;
use crate::filter::{Comparator, Filter, Value};
use crate::index::Index;
use crate::join::{Hop, Join};
use crate::node::{Condition, Fields, Node};
use crate::plan::{self, Branch, Path, Plan, Reach, SortField, Source};
use crate::query::{Query, QueryRun, Sort};
use crate::resolve::Pending;
use crate::table::{Table, TableState};

/// Entries counted of each of several ranges, first of few and then of more.
const COUNTED: [usize; 2] = [64, 1024];
/// Entries counted to decide between sorting and reading in order.
const COUNTED_FOR_ORDER: usize = 4096;
/// Ranges of other indexes that may narrow what is read.
const INTERSECTIONS_MAX: usize = 2;

impl Plan {
    pub(crate) fn new(table: &Table, query: &Query) -> Result<Plan, Error> {
        let state = table.state();
        let (fields, used) = (Fields::default(), Vec::new());
        Planner { table, state: &state, query, fields, used }.plan()
    }
}

struct Planner<'a> {
    table: &'a Table,
    state: &'a TableState,
    query: &'a Query,
    fields: Fields,
    used: Vec<(Table, Arc<Index>)>,
}

impl Planner<'_> {
    fn plan(mut self) -> Result<Plan, Error> {
        let query = self.query;
        let mut conditions = Vec::new();
        flatten(query.filter.as_ref(), &mut conditions);
        conditions.extend(query.key_prefix.as_deref().map(|prefix| self.begins_with(prefix)));
        let nodes = self.compile_all(&conditions)?;
        let (mut access, intersections) = match self.accesses(&conditions)? {
            Some(accesses) => self.choose(accesses)?,
            None => (Access::nothing(), Vec::new()),
        };
        let sort = self.sort()?;
        let in_order = self.put_in_order(&mut access.branches);
        let Access { branches, covered, .. } = access;
        let (mut kept, mut residual) = (Vec::new(), Vec::new());
        for (at, node) in nodes.into_iter().enumerate().filter(|_| !branches.is_empty()) {
            let all = if covered.contains(&at) { &mut kept } else { &mut residual };
            all.push(node);
        }
        for branch in branches.iter().chain(&intersections) {
            if let Source::Index { index, .. } = &branch.source {
                self.used.push((self.table.clone(), index.clone()));
            }
        }
        let sort = if in_order { Vec::new() } else { sort };
        let Planner { fields, used, .. } = self;
        Ok(Plan { branches, intersections, residual, covered: kept, fields, sort, used })
    }

    fn begins_with(&self, prefix: &str) -> Filter {
        Filter::Compare {
            attribute: self.state.schema.key_attribute().name.clone(),
            comparator: Comparator::StartsWith,
            value: Value::String(prefix.to_owned()),
        }
    }

    fn is_key(&self, attribute: &str) -> bool {
        self.state.schema.key_attribute().name == attribute
    }

    fn compile(&mut self, filter: &Filter) -> Result<Node, Error> {
        compile(filter, self.table, &mut self.fields, &mut self.used)
    }

    fn compile_all(&mut self, filters: &[Filter]) -> Result<Vec<Node>, Error> {
        filters.iter().map(|filter| self.compile(filter)).collect()
    }

    /// The ways to find records that meet all conditions; `None` if no record can.
    fn accesses(&mut self, conditions: &[Filter]) -> Result<Option<Vec<Access>>, Error> {
        let mut accesses = Vec::new();
        for attribute in access::attributes(conditions) {
            let index = self.state.index(attribute).cloned();
            if index.is_none() && !self.is_key(attribute) {
                continue;
            }
            match access::on_attribute(conditions, attribute, index.as_ref()) {
                Allowed::Nothing => return Ok(None),
                Allowed::All => {}
                Allowed::Range(found) => {
                    let source = self.source(attribute, index, found.checks)?;
                    accesses.push(Access {
                        rank: found.rank,
                        attribute: Some(attribute.to_owned()),
                        branches: vec![Branch::new(source, found.range)],
                        covered: found.covered,
                    });
                }
            }
        }
        for (at, condition) in conditions.iter().enumerate() {
            let (rank, branches) = match condition {
                Filter::Or(filters) => (RANK_UNION, self.union(filters)?),
                Filter::Related { join, filter } => (RANK_JOIN, self.related(join, filter)?),
                Filter::And(_) | Filter::Compare { .. } => continue,
            };
            let access = |branches| Access { rank, attribute: None, branches, covered: vec![at] };
            accesses.extend(branches.map(access));
        }
        Ok(Some(accesses))
    }

    fn source(
        &mut self,
        attribute: &str,
        index: Option<Arc<Index>>,
        checks: Vec<(Comparator, Value)>,
    ) -> Result<Source, Error> {
        let Some(index) = index else { return Ok(Source::Primary) };
        let field = self.fields.add(&self.state.schema, attribute)?;
        Ok(Source::Index { index, field, checks })
    }

    /// A range for each branch of an OR, `None` unless each has one.
    fn union(&mut self, filters: &[Filter]) -> Result<Option<Vec<Branch>>, Error> {
        let mut branches = Vec::new();
        for filter in filters {
            let mut conditions = Vec::new();
            flatten(Some(filter), &mut conditions);
            let Some(accesses) = self.accesses(&conditions)? else { continue };
            let single = accesses.into_iter().filter(|access| access.branches.len() == 1);
            let Some(best) = single.min_by_key(|access| access.rank) else { return Ok(None) };
            let guard = self.compile(filter)?;
            branches.extend(
                best.branches.into_iter().map(|one| Branch { guard: Some(guard.clone()), ..one }),
            );
        }
        Ok(Some(branches))
    }

    /// The values of related records as values of the attribute here, `None` unless the related
    /// records are found by an index there and the attribute here has one.
    fn related(&mut self, join: &Join, filter: &Filter) -> Result<Option<Vec<Branch>>, Error> {
        let index = self.state.index(&join.local).cloned();
        if index.is_none() && !self.is_key(&join.local) {
            return Ok(None);
        }
        let limits = self.query.limits;
        let query = Query { filter: Some(filter.clone()), limits, ..Query::default() };
        let run = QueryRun::plan_query(join.table.clone(), &query)?;
        if !run.plan().is_narrow() {
            return Ok(None);
        }
        let mut foreign = Fields::default();
        foreign.add(&join.table.schema(), &join.foreign)?;
        let whole = Filter::Related { join: join.clone(), filter: Box::new(filter.clone()) };
        let pending = Pending::new(run, foreign, self.compile(&whole)?);
        let source = self.source(&join.local, index, Vec::new())?;
        let reach = Reach::Related(Box::new(pending));
        Ok(Some(vec![Branch { source, reach, reverse: false, guard: None }]))
    }

    /// The access to use, and the ranges that may narrow it.
    fn choose(&mut self, mut accesses: Vec<Access>) -> Result<(Access, Vec<Branch>), Error> {
        let preferred = self.query.sort.first().map(|sort| sort.attribute.as_str());
        let is_other = |access: &Access| {
            preferred.is_some_and(|name| access.attribute.as_deref() != Some(name))
        };
        accesses.sort_by_key(|access| (access.rank, is_other(access)));
        let narrow = accesses.partition_point(|access| access.rank < RANK_INDEX_SCAN);
        if narrow == 0 {
            let best = match accesses.into_iter().next() {
                Some(access) => access,
                None => self.whole()?,
            };
            return Ok((best, Vec::new()));
        }
        accesses.truncate(narrow);
        if accesses[0].rank > RANK_KEY && (narrow > 1 || !self.query.sort.is_empty()) {
            let txn = self.table.shared().read()?;
            self.put_smallest_first(&txn, &mut accesses)?;
            self.put_ordered_first(&txn, &mut accesses)?;
        }
        let best = accesses.remove(0);
        let narrower = accesses.into_iter().filter_map(|access| match access.branches.as_slice() {
            [Branch { source: Source::Index { .. }, reach: Reach::Range(_), .. }] => {
                access.branches.into_iter().next()
            }
            _ => None,
        });
        let narrower = narrower.take(INTERSECTIONS_MAX).collect();
        Ok((best, narrower))
    }

    fn put_smallest_first(&self, txn: &ReadTxn<'_>, accesses: &mut [Access]) -> Result<(), Error> {
        if accesses.len() < 2 {
            return Ok(());
        }
        for max in COUNTED {
            let mut least = (max, 0);
            for (at, access) in accesses.iter().enumerate() {
                least = least.min((plan::count(&access.branches, self.table, txn, max)?, at));
            }
            if least.0 < max {
                accesses.swap(0, least.1);
                break;
            }
        }
        Ok(())
    }

    /// Prefers reading in the order of the sort when more would have to be sorted than is likely
    /// to be read until the limit is reached. With records that meet the conditions spread evenly,
    /// `wanted * total / n` are read in order to find the wanted ones, and `n` to sort them.
    fn put_ordered_first(
        &mut self,
        txn: &ReadTxn<'_>,
        accesses: &mut Vec<Access>,
    ) -> Result<(), Error> {
        if self.query.sort.is_empty() || self.gives_order(&accesses[0].branches) {
            return Ok(());
        }
        let at = accesses.iter().position(|access| self.gives_order(&access.branches));
        let whole = if at.is_none() { Some(self.whole()?) } else { None };
        if whole.as_ref().is_some_and(|whole| !self.gives_order(&whole.branches)) {
            return Ok(());
        }
        let total = self.table.records().len(txn.inner())?;
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        let worth = match self.query.wanted() {
            Some(wanted) => wanted.saturating_mul(total).isqrt(),
            None => self.query.limits.sort_records_max,
        };
        let worth = worth.min(COUNTED_FOR_ORDER);
        if plan::count(&accesses[0].branches, self.table, txn, worth + 1)? > worth {
            let ordered = whole.or_else(|| at.map(|at| accesses.remove(at)));
            ordered.into_iter().for_each(|ordered| accesses.insert(0, ordered));
        }
        Ok(())
    }

    /// Everything: in the order of an index if that saves sorting and holds every record, else of
    /// the table.
    fn whole(&mut self) -> Result<Access, Error> {
        let (mut source, mut attribute) = (Source::Primary, None);
        if let [first] = self.query.sort.as_slice()
            && let Some(index) = self.state.index(&first.attribute).cloned()
            && is_sorted_by(&index, &self.query.sort)
            && self.is_complete(&index)?
        {
            source = self.source(&first.attribute, Some(index), Vec::new())?;
            attribute = Some(first.attribute.clone());
        }
        let branches = vec![Branch::new(source, KeyRange::all())];
        Ok(Access { rank: RANK_INDEX_SCAN, attribute, branches, covered: Vec::new() })
    }

    /// Whether every record has an entry: each has at most one, so counting tells.
    fn is_complete(&self, index: &Index) -> Result<bool, Error> {
        let txn = self.table.shared().read()?;
        let entries = index.entries.len(txn.inner())?;
        Ok(entries == self.table.records().len(txn.inner())?)
    }

    /// Turns the scan to the direction of the sort; false if records have to be sorted.
    fn put_in_order(&self, branches: &mut [Branch]) -> bool {
        let Some(first) = self.query.sort.first() else { return true };
        let in_order = branches.is_empty() || self.gives_order(branches);
        for branch in branches {
            branch.reverse = in_order && first.descending;
        }
        in_order
    }

    /// Whether records are read in the order of the sort, or the reverse.
    fn gives_order(&self, branches: &[Branch]) -> bool {
        let [Branch { source, reach: Reach::Range(_), guard: None, .. }] = branches else {
            return false;
        };
        match (source, self.query.sort.first()) {
            (Source::Primary, Some(first)) => first.via.is_empty() && self.is_key(&first.attribute),
            (Source::Index { index, .. }, Some(_)) => is_sorted_by(index, &self.query.sort),
            (_, None) => true,
        }
    }

    fn sort(&mut self) -> Result<Vec<SortField>, Error> {
        let mut fields = Vec::new();
        for sort in &self.query.sort {
            let descending = sort.descending;
            if sort.via.is_empty() && self.is_key(&sort.attribute) {
                fields.push(SortField::PrimaryKey { descending });
                break;
            }
            fields.push(SortField::Field { path: self.path(sort)?, descending });
        }
        Ok(fields)
    }

    fn path(&mut self, sort: &Sort) -> Result<Path, Error> {
        let mut hops: Vec<Hop> = Vec::new();
        let mut table = self.table;
        for join in &sort.via {
            let from = hops.last_mut().map_or(&mut self.fields, |hop| &mut hop.fields);
            let hop = Hop::new(table, join, from)?;
            self.used.extend(hop.index().map(|index| (hop.table.clone(), index.clone())));
            hops.push(hop);
            table = &join.table;
        }
        let fields = hops.last_mut().map_or(&mut self.fields, |hop| &mut hop.fields);
        let field = fields.add(&table.schema(), &sort.attribute)?;
        Ok(Path { hops, field })
    }
}

impl Access {
    fn nothing() -> Access {
        Access { rank: RANK_KEY, attribute: None, branches: Vec::new(), covered: Vec::new() }
    }
}

/// Resolves the attributes of a filter on the records of a table.
pub(crate) fn compile(
    filter: &Filter,
    table: &Table,
    fields: &mut Fields,
    used: &mut Vec<(Table, Arc<Index>)>,
) -> Result<Node, Error> {
    let mut all = |filters: &[Filter]| -> Result<Vec<Node>, Error> {
        filters.iter().map(|filter| compile(filter, table, fields, used)).collect()
    };
    Ok(match filter {
        Filter::And(filters) => Node::And(all(filters)?),
        Filter::Or(filters) => Node::Or(all(filters)?),
        Filter::Compare { attribute, comparator, value } => Node::Test(Condition {
            field: fields.add(&table.schema(), attribute)?,
            comparator: *comparator,
            value: value.clone(),
        }),
        Filter::Related { join, filter } => {
            let mut hop = Hop::new(table, join, fields)?;
            used.extend(hop.index().map(|index| (hop.table.clone(), index.clone())));
            let node = compile(filter, &join.table, &mut hop.fields, used)?;
            Node::Related(Box::new((hop, node)))
        }
    })
}

/// Whether reading the index gives this order. A primary key named as a second sort key is
/// sorted by in memory, since long ones stand in the index as hashes.
fn is_sorted_by(index: &Index, sort: &[Sort]) -> bool {
    matches!(sort, [only] if only.via.is_empty() && only.attribute == index.attribute)
        && !index.kind.is_multiple()
}

/// Takes nested ANDs apart.
fn flatten(filter: Option<&Filter>, conditions: &mut Vec<Filter>) {
    match filter {
        Some(Filter::And(all)) => all.iter().for_each(|one| flatten(Some(one), conditions)),
        Some(other) => conditions.push(other.clone()),
        None => {}
    }
}
