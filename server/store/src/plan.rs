//! From a query to the trees that are read and what is left to test in each record.
//!
//! Of the conditions that must all hold, one index (or the primary key) is used: equality before
//! ranges, two bounds before one, an OR whose every branch has an index before a scan of a whole
//! index, and that before a scan of the table. Two bounds on an attribute are one range unless the
//! attribute can be an array, where each may be met by another element.

use std::fmt;
use std::sync::Arc;

use crate::bounds::{self, KeyRange, Tree};
use crate::error::Error;
use crate::filter::{Comparator, Condition, Field, Filter, Node, Value};
use crate::index::Index;
use crate::json;
use crate::query::{Query, Sort};
use crate::schema::TableSchema;
use crate::table::{Table, TableState};

/// How a query is run; displayed as one line for people.
#[derive(Debug)]
pub struct Plan {
    /// Read one after the other; none: nothing can meet the query.
    pub(crate) branches: Vec<Branch>,
    /// What records must meet besides.
    pub(crate) residual: Vec<Node>,
    /// The attributes that are read from records.
    pub(crate) fields: Vec<Field>,
    /// Their escaped names.
    pub(crate) names: Vec<Box<[u8]>>,
    /// The order to sort by, empty when records come in order.
    pub(crate) sort: Vec<SortField>,
    summary: String,
}

/// One tree and the range of it that is read.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) source: Source,
    pub(crate) range: KeyRange,
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

/// One key of the sort order.
#[derive(Debug)]
pub(crate) enum SortField {
    PrimaryKey { descending: bool },
    Field { field: usize, descending: bool },
}

/// A way to find the records that meet some conditions, and how good it is: less is better.
struct Access {
    rank: u8,
    attribute: String,
    source: Source,
    range: KeyRange,
    /// Positions of the conditions that need no test any more.
    covered: Vec<usize>,
}

const RANK_UNION: u8 = 6;
const RANK_INDEX_SCAN: u8 = 7;

impl Plan {
    pub(crate) fn new(table: &Table, query: &Query) -> Result<Plan, Error> {
        let state = table.state();
        let mut planner = Planner { table, state: &state, fields: Vec::new() };
        planner.plan(query)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary)
    }
}

struct Planner<'a> {
    table: &'a Table,
    state: &'a TableState,
    fields: Vec<Field>,
}

impl Planner<'_> {
    fn plan(&mut self, query: &Query) -> Result<Plan, Error> {
        let mut conditions = Vec::new();
        flatten(query.filter.as_ref(), &mut conditions);
        if let Some(prefix) = &query.key_prefix {
            conditions.push(Filter::Compare {
                attribute: self.schema().key_attribute().name.clone(),
                comparator: Comparator::StartsWith,
                value: Value::String(prefix.clone()),
            });
        }
        let nodes = self.compile_all(&conditions)?;
        let preferred = query.sort.first().map(|sort| sort.attribute.as_str());
        let (mut branches, covered) = match self.access(&conditions, preferred)? {
            Found::Nothing => (Vec::new(), Vec::new()),
            Found::Access(Access { source, range, covered, .. }) => {
                (vec![Branch { source, range, reverse: false, guard: None }], covered)
            }
            Found::Union(branches, covered) => (branches, vec![covered]),
            Found::Scan => (vec![self.whole(&query.sort)?], Vec::new()),
        };
        let sort = self.sort(&query.sort)?;
        let in_order = self.put_in_order(&mut branches, &query.sort);
        let residual: Vec<Node> = nodes
            .into_iter()
            .enumerate()
            .filter(|(at, _)| !covered.contains(at) && !branches.is_empty())
            .map(|(_, node)| node)
            .collect();
        let sort = if in_order { Vec::new() } else { sort };
        let summary = summary(&branches, !residual.is_empty(), !sort.is_empty());
        let fields = std::mem::take(&mut self.fields);
        let names = fields.iter().map(|field| json::escaped(&field.name)).collect();
        Ok(Plan { branches, residual, fields, names, sort, summary })
    }

    fn schema(&self) -> &TableSchema {
        &self.state.schema
    }

    /// Position of an attribute among the fields.
    fn field(&mut self, name: &str) -> Result<usize, Error> {
        if let Some(at) = self.fields.iter().position(|field| field.name == name) {
            return Ok(at);
        }
        let Some(attribute) = self.state.schema.attribute(name) else {
            return Err(Error::UnknownAttribute { attribute: name.to_owned() });
        };
        self.fields.push(Field { name: name.to_owned(), kind: attribute.kind.clone() });
        Ok(self.fields.len() - 1)
    }

    fn compile(&mut self, filter: &Filter) -> Result<Node, Error> {
        Ok(match filter {
            Filter::And(all) => Node::And(self.compile_all(all)?),
            Filter::Or(any) => Node::Or(self.compile_all(any)?),
            Filter::Compare { attribute, comparator, value } => Node::Test(Condition {
                field: self.field(attribute)?,
                comparator: *comparator,
                value: value.clone(),
            }),
        })
    }

    fn compile_all(&mut self, filters: &[Filter]) -> Result<Vec<Node>, Error> {
        filters.iter().map(|filter| self.compile(filter)).collect()
    }

    /// The best way to find records that meet all conditions.
    fn access(&mut self, conditions: &[Filter], preferred: Option<&str>) -> Result<Found, Error> {
        let single = self.single(conditions, preferred)?;
        if matches!(&single, Found::Nothing)
            || matches!(&single, Found::Access(access) if access.rank < RANK_UNION)
        {
            return Ok(single);
        }
        for (at, condition) in conditions.iter().enumerate() {
            if let Filter::Or(branches) = condition
                && let Some(branches) = self.union(branches)?
            {
                return Ok(Found::Union(branches, at));
            }
        }
        Ok(single)
    }

    /// A range for each branch of an OR, `None` unless each has one.
    fn union(&mut self, filters: &[Filter]) -> Result<Option<Vec<Branch>>, Error> {
        let mut branches = Vec::new();
        for filter in filters {
            let mut conditions = Vec::new();
            flatten(Some(filter), &mut conditions);
            match self.single(&conditions, None)? {
                Found::Nothing => {}
                Found::Access(Access { source, range, .. }) => {
                    let guard = Some(self.compile(filter)?);
                    branches.push(Branch { source, range, reverse: false, guard });
                }
                Found::Scan | Found::Union(..) => return Ok(None),
            }
        }
        Ok(Some(branches))
    }

    /// The best single index for conditions that must all hold.
    fn single(&mut self, conditions: &[Filter], preferred: Option<&str>) -> Result<Found, Error> {
        let mut best: Option<Access> = None;
        for attribute in attributes(conditions) {
            let access = match self.on_attribute(conditions, attribute)? {
                Found::Access(access) => access,
                Found::Nothing => return Ok(Found::Nothing),
                Found::Scan | Found::Union(..) => continue,
            };
            let order = |access: &Access| {
                (access.rank, preferred.is_some_and(|name| name != access.attribute))
            };
            if best.as_ref().is_none_or(|best| order(&access) < order(best)) {
                best = Some(access);
            }
        }
        Ok(best.map_or(Found::Scan, Found::Access))
    }

    /// What the conditions on one attribute allow.
    fn on_attribute(&mut self, conditions: &[Filter], attribute: &str) -> Result<Found, Error> {
        let key = self.schema().key_attribute().name == attribute;
        let index = self.state.index(attribute).cloned();
        if !key && index.is_none() {
            return Ok(Found::Scan);
        }
        let tree = if key { Tree::Primary } else { Tree::Index };
        let mut parts = Vec::new();
        for (at, comparator, value) in on(conditions, attribute) {
            let Some(range) = bounds::range(tree, comparator, value) else {
                return Ok(Found::Nothing);
            };
            parts.push(Part { at, comparator, value: value.clone(), range });
        }
        if index.as_ref().is_some_and(|index| index.kind.is_multiple()) {
            parts.sort_by_key(|part| strength(part.comparator));
            parts.truncate(1);
        }
        let rank = rank(tree, &parts);
        if key && rank >= RANK_INDEX_SCAN {
            return Ok(Found::Scan);
        }
        let covered = parts.iter().filter(|part| part.range.exact).map(|part| part.at).collect();
        let checks = parts
            .iter()
            .filter(|part| !part.range.exact)
            .map(|part| (part.comparator, part.value.clone()))
            .collect();
        let range = parts.into_iter().map(|part| part.range).reduce(KeyRange::intersect);
        let source = match index {
            Some(index) if !key => Source::Index { index, field: self.field(attribute)?, checks },
            _ => Source::Primary,
        };
        let range = range.unwrap_or_else(KeyRange::all);
        Ok(Found::Access(Access { rank, attribute: attribute.to_owned(), source, range, covered }))
    }

    /// A scan of everything: in the order of an index if that saves sorting and holds every
    /// record, else of the table.
    fn whole(&mut self, sort: &[Sort]) -> Result<Branch, Error> {
        let mut source = Source::Primary;
        if let Some(first) = sort.first()
            && let Some(index) = self.state.index(&first.attribute).cloned()
            && is_sorted_by(&index, sort)
            && self.is_complete(&index)?
        {
            let field = self.field(&first.attribute)?;
            source = Source::Index { index, field, checks: Vec::new() };
        }
        Ok(Branch { source, range: KeyRange::all(), reverse: false, guard: None })
    }

    /// Whether every record has an entry: each has at most one, so counting tells.
    fn is_complete(&self, index: &Index) -> Result<bool, Error> {
        let txn = self.table.shared().read()?;
        let entries = index.entries.len(txn.inner())?;
        Ok(entries == self.table.records().len(txn.inner())?)
    }

    /// Turns the scan to the direction of the sort; false if records have to be sorted.
    fn put_in_order(&self, branches: &mut [Branch], sort: &[Sort]) -> bool {
        let Some(first) = sort.first() else { return true };
        let [branch] = branches else { return branches.is_empty() };
        let in_order = match &branch.source {
            Source::Primary => first.attribute == self.schema().key_attribute().name,
            Source::Index { index, .. } => is_sorted_by(index, sort),
        };
        branch.reverse = in_order && first.descending;
        in_order && branch.guard.is_none()
    }

    fn sort(&mut self, sort: &[Sort]) -> Result<Vec<SortField>, Error> {
        let mut fields = Vec::new();
        for Sort { attribute, descending } in sort {
            let descending = *descending;
            if *attribute == self.schema().key_attribute().name {
                fields.push(SortField::PrimaryKey { descending });
                break;
            }
            fields.push(SortField::Field { field: self.field(attribute)?, descending });
        }
        Ok(fields)
    }
}

/// Whether reading the index gives this order. A primary key named as a second sort key is
/// sorted by in memory, since long ones stand in the index as hashes.
fn is_sorted_by(index: &Index, sort: &[Sort]) -> bool {
    matches!(sort, [only] if only.attribute == index.attribute) && !index.kind.is_multiple()
}

/// What was found for some conditions.
enum Found {
    /// No record can meet them.
    Nothing,
    Access(Access),
    /// A range for each branch of the OR at this position.
    Union(Vec<Branch>, usize),
    /// No index helps.
    Scan,
}

/// One condition on the attribute that is looked at.
struct Part {
    at: usize,
    comparator: Comparator,
    value: Value,
    range: KeyRange,
}

/// Takes nested ANDs apart.
fn flatten(filter: Option<&Filter>, conditions: &mut Vec<Filter>) {
    match filter {
        Some(Filter::And(all)) => all.iter().for_each(|one| flatten(Some(one), conditions)),
        Some(other) => conditions.push(other.clone()),
        None => {}
    }
}

/// The attributes compared, each once.
fn attributes(conditions: &[Filter]) -> Vec<&str> {
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
        0 => 0,
        1 => 2,
        2 if bounds > 1 => 2,
        2 => 4,
        _ => return RANK_INDEX_SCAN,
    };
    rank + u8::from(tree == Tree::Index)
}

fn summary(branches: &[Branch], filtered: bool, sorted: bool) -> String {
    let scans: Vec<String> = branches.iter().map(Branch::summary).collect();
    let mut summary = match scans.as_slice() {
        [] => String::from("nothing"),
        [one] => one.clone(),
        more => format!("union of {}", more.join(" and ")),
    };
    if filtered {
        summary.push_str(", filter");
    }
    if sorted {
        summary.push_str(", sort");
    }
    summary
}

impl Branch {
    fn summary(&self) -> String {
        let unbounded = self.range == KeyRange::all();
        let extent = if unbounded { "scan" } else { "range" };
        let direction = if self.reverse { " backwards" } else { "" };
        match &self.source {
            Source::Primary => format!("primary key {extent}{direction}"),
            Source::Index { index, .. } => {
                format!("index {} {extent}{direction}", index.attribute)
            }
        }
    }
}
