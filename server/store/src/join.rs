//! Relationships: from the values of a record to the records of a table that hold them.
//!
//! One form serves every kind of relationship: a record is related to those whose `foreign`
//! attribute has a value that its `local` attribute has. Either may be an array, and either may be
//! a primary key. Null is the lack of a value, so it is related to nothing. The foreign side must be the primary key or indexed, so that following a
//! relationship is a lookup and never a scan.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;

use crate::database::ReadTxn;
use crate::encode;
use crate::env::Handle;
use crate::error::Error;
use crate::index::{Entry, Index};
use crate::node::{Fields, Values};
use crate::record::{self, Record};
use crate::scalar::{self, Scalar};
use crate::schema::Kind;
use crate::table::Table;

/// How records of one table are related to records of another one in the same database.
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    /// The attribute of the table that the relationship starts from.
    pub local: String,
    /// The table that is related.
    pub table: Table,
    /// The attribute there that has the same value: its primary key, or one that is indexed.
    pub foreign: String,
}

/// A relationship that can be followed from records of its table.
#[derive(Debug)]
pub struct Related {
    table: Table,
    hop: Hop,
    local: Fields,
}

impl Related {
    pub(crate) fn new(table: &Table, join: &Join) -> Result<Related, Error> {
        let mut local = Fields::default();
        let hop = Hop::new(table, join, &mut local)?;
        Ok(Related { table: table.clone(), hop, local })
    }

    /// Hands the records related to the one with this body to `visit`, each once, until it returns
    /// false: in the order of an array that names them, else of their primary keys.
    ///
    /// # Errors
    /// [`Error::WrongDatabase`]; storage errors.
    pub fn each<'t>(
        &self,
        txn: &'t ReadTxn<'_>,
        body: &'t [u8],
        visit: &mut dyn FnMut(Record<'t>) -> bool,
    ) -> Result<(), Error> {
        self.table.check(txn)?;
        let mut values = Values::default();
        self.local.extract(body, &mut values);
        let Some(raw) = values.stored(0) else { return Ok(()) };
        let mut seen = (raw.first() == Some(&b'[')).then(HashSet::new);
        self.hop.find(raw, &Lookups::new(txn), &mut |key, record| {
            let is_new = seen.as_mut().is_none_or(|seen| seen.insert(key.to_vec()));
            Ok(is_new && !visit(record))
        })?;
        Ok(())
    }
}

/// Takes key and record of a related record, and tells whether that was enough.
type Visit<'v, 't> = &'v mut dyn FnMut(&[u8], Record<'t>) -> Result<bool, Error>;

/// The transaction in which relationships are followed, and how many records that has read.
pub(crate) struct Lookups<'t> {
    txn: &'t ReadTxn<'t>,
    read: Cell<usize>,
}

impl<'t> Lookups<'t> {
    pub(crate) fn new(txn: &'t ReadTxn<'t>) -> Lookups<'t> {
        Lookups { txn, read: Cell::new(0) }
    }

    pub(crate) fn txn(&self) -> &'t ReadTxn<'t> {
        self.txn
    }

    /// Records read since this was last asked.
    pub(crate) fn take_read(&self) -> usize {
        self.read.take()
    }

    fn count(&self) {
        self.read.set(self.read.get() + 1);
    }
}

/// A join whose attributes are resolved.
#[derive(Debug, Clone)]
pub(crate) struct Hop {
    /// Position of the local attribute among the fields of the record it starts from.
    local: usize,
    kind: Kind,
    /// The related table.
    pub(crate) table: Table,
    foreign: Foreign,
    /// What is read from related records.
    pub(crate) fields: Fields,
}

/// How related records are found.
#[derive(Debug, Clone)]
enum Foreign {
    Key,
    Index {
        index: Arc<Index>,
        /// The indexed attribute among the fields of the related record.
        field: usize,
    },
}

impl Hop {
    /// `from` are the fields of the record that the relationship starts from.
    pub(crate) fn new(table: &Table, join: &Join, from: &mut Fields) -> Result<Hop, Error> {
        if !Arc::ptr_eq(table.shared(), join.table.shared()) {
            return Err(Error::WrongDatabase { table: join.table.name().to_owned() });
        }
        let local = from.add(&table.schema(), &join.local)?;
        let (state, mut fields) = (join.table.state(), Fields::default());
        let foreign = if state.schema.key_attribute().name == join.foreign {
            Foreign::Key
        } else {
            let field = fields.add(&state.schema, &join.foreign)?;
            let index = state.index(&join.foreign).cloned();
            let attribute = || join.foreign.clone();
            Foreign::Index {
                index: index.ok_or_else(|| Error::NoIndex { attribute: attribute() })?,
                field,
            }
        };
        let kind = from.kind(local).clone();
        Ok(Hop { local, kind, table: join.table.clone(), foreign, fields })
    }

    /// The index that is read to follow the relationship.
    pub(crate) fn index(&self) -> Option<&Arc<Index>> {
        match &self.foreign {
            Foreign::Key => None,
            Foreign::Index { index, .. } => Some(index),
        }
    }

    /// Whether `meets` holds for the fields of a record related to the one with these values; those
    /// after it are not looked at.
    pub(crate) fn any<'t>(
        &self,
        values: &Values<'t>,
        lookups: &Lookups<'t>,
        meets: &mut dyn FnMut(&Values<'t>) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let Some(raw) = values.stored(self.local) else { return Ok(false) };
        let mut fields = Values::default();
        self.find(raw, lookups, &mut |_, record| {
            self.fields.extract(record.body, &mut fields);
            meets(&fields)
        })
    }

    /// Hands out key and record of each related record until `visit` returns true; whether it did.
    fn find<'t>(
        &self,
        raw: &'t [u8],
        lookups: &Lookups<'t>,
        visit: Visit<'_, 't>,
    ) -> Result<bool, Error> {
        let mut outcome = Ok(false);
        scalar::any(raw, &self.kind, |scalar| {
            outcome = self.look_up(&scalar, lookups, visit);
            !matches!(outcome, Ok(false))
        });
        outcome
    }

    fn look_up<'t>(
        &self,
        scalar: &Scalar<'_>,
        lookups: &Lookups<'t>,
        visit: Visit<'_, 't>,
    ) -> Result<bool, Error> {
        if *scalar == Scalar::Null {
            return Ok(false);
        }
        let records = self.table.records();
        match &self.foreign {
            Foreign::Key => {
                let Some(key) = scalar.key() else { return Ok(false) };
                match read(records, lookups, &key)? {
                    Some(record) => visit(&key, record),
                    None => Ok(false),
                }
            }
            Foreign::Index { index, field } => {
                let mut value = Vec::new();
                scalar.push(&mut value);
                for item in index.entries.prefix_iter(lookups.txn.inner(), &value)? {
                    let (key, data) = item?;
                    let entry = Entry::read(key, data)?;
                    let Some(record) = read(records, lookups, entry.key)? else { continue };
                    if self.has(*field, scalar, record) && visit(entry.key, record)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    /// Whether a record found by its index entry has the value, of which an index holds only the
    /// beginning when it is long.
    fn has(&self, field: usize, scalar: &Scalar<'_>, record: Record<'_>) -> bool {
        let Scalar::String(text) = scalar else { return true };
        if !encode::is_cut(text.as_bytes()) {
            return true;
        }
        let mut values = Values::default();
        self.fields.extract(record.body, &mut values);
        let raw = values.get(field);
        raw.is_some_and(|raw| {
            scalar::any(raw, self.fields.kind(field), |found| match found {
                Scalar::String(found) => found == *text,
                _ => false,
            })
        })
    }
}

fn read<'t>(
    records: Handle,
    lookups: &Lookups<'t>,
    key: &[u8],
) -> Result<Option<Record<'t>>, Error> {
    lookups.count();
    match records.get(lookups.txn.inner(), key)? {
        Some(value) => record::read_live(value),
        None => Ok(None),
    }
}
