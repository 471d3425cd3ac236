//! Creating tables and changing their definition.
//!
//! A new index is maintained by the writer from the moment the new definition is published, and
//! filled with the records that exist in slices of bounded write transactions. Queries use it once
//! the catalog says it is complete; a restart before that leaves it to the next definition.

use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use heed::RwTxn;

use crate::catalog::{self, Entry, db_name};
use crate::database::{Database, Shared};
use crate::env::{self, Handle};
use crate::error::Error;
use crate::index::{Index, Made};
use crate::json;
use crate::key::Key;
use crate::record;
use crate::schema::{Attribute, TableSchema};
use crate::table::{Table, TableState};

/// Records that one write transaction adds to new indexes.
const SLICE_RECORDS: usize = 1000;
/// It ends before that with the record whose indexed values make it this large.
const SLICE_BYTES: usize = 16 << 20;
/// Or with the one that takes reading them beyond this time, since other writes wait meanwhile.
const SLICE_TIME: Duration = Duration::from_millis(50);
const TABLE_NAME_BYTES_MAX: usize = 250;

static GENERATION: AtomicU64 = AtomicU64::new(0);

impl Database {
    /// Creates a table, or gives it a new definition. Indexes that are new, or whose attribute has
    /// a new type, are complete when this returns. Records that exist are not checked again.
    ///
    /// # Errors
    /// [`Error::Incompatible`] when the definition contradicts itself, changes the name or type of
    /// the primary key, or indexes a computed attribute that cannot be evaluated on every record:
    /// the table then has the definition, but not the index; [`Error::TablesFull`]; storage errors.
    pub fn define(&self, schema: TableSchema) -> Result<Table, Error> {
        schema.check()?;
        let schema = schema.bound(&self.shared.evaluator);
        self.check_names(&schema)?;
        let _guard = self.defining.lock().unwrap_or_else(PoisonError::into_inner);
        match self.table(&schema.name) {
            None => self.create(schema),
            Some(table) => {
                self.redefine(&table, schema)?;
                Ok(table)
            }
        }
    }

    fn check_names(&self, schema: &TableSchema) -> Result<(), Error> {
        let TableSchema { database, name, .. } = schema;
        if database != self.name() {
            return Err(schema.incompatible(&format!("it names the database {database}")));
        }
        if name.is_empty()
            || name.len() > TABLE_NAME_BYTES_MAX
            || name.chars().any(|c| c.is_control())
        {
            return Err(schema.incompatible("its name is empty, too long or not printable"));
        }
        Ok(())
    }

    fn create(&self, schema: TableSchema) -> Result<Table, Error> {
        let shared = &self.shared;
        let ready = schema.indexed().map(|attribute| attribute.name.clone()).collect();
        let mut txn = shared.write()?;
        let id = catalog::next_table(&mut txn, shared.meta)?;
        txn.commit()?;
        let expires = schema.expires();
        let entry = Entry { id, schema, ready, expires };
        let (handles, ()) = env::create(shared.environment, &names(&entry), |txn, _| {
            catalog::put_entry(txn, shared.meta, &entry)
        })?;
        let table = assemble(shared, entry, &mut handles.into_iter())?;
        let mut tables = (**self.tables.load()).clone();
        tables.insert(table.name().to_owned(), table.clone());
        self.tables.store(Arc::new(tables));
        Ok(table)
    }

    fn redefine(&self, table: &Table, schema: TableSchema) -> Result<(), Error> {
        let old = table.state();
        let (old_key, new_key) = (old.schema.key_attribute(), schema.key_attribute());
        if (&old_key.name, &old_key.kind) != (&new_key.name, &new_key.kind) {
            let (name, kind) = (&old_key.name, old_key.kind.name());
            return Err(schema.incompatible(&format!("its primary key is {name} of type {kind}")));
        }
        if *old.schema == schema && old.indexes.iter().all(|index| index.ready) {
            return Ok(());
        }
        let shared = &self.shared;
        let kept = |index: &Index| {
            index.ready
                && schema.indexed().any(|a| {
                    let made = index.made.as_ref().map(|made| &made.computed);
                    (&a.name, &a.kind, a.computed.as_ref()) == (&index.attribute, &index.kind, made)
                })
        };
        let ready: Vec<String> =
            old.indexes.iter().filter(|i| kept(i)).map(|i| i.attribute.clone()).collect();
        let expires = old.expiry.is_some() || schema.expires();
        let entry = Entry { id: table.id(), schema: schema.clone(), ready, expires };
        let (handles, ()) = env::create(shared.environment, &names(&entry), |txn, _| {
            catalog::put_entry(txn, shared.meta, &entry)
        })?;
        let mut handles = handles.into_iter().skip(1);
        let expiry = if expires { handles.next() } else { None };
        let indexes: Vec<Arc<Index>> = schema
            .indexed()
            .map(|attribute| {
                let new = new_index(attribute, &mut handles, false)?;
                let kept = old.indexes.iter().find(|i| i.attribute == attribute.name && kept(i));
                Ok(kept.cloned().unwrap_or(new))
            })
            .collect::<Result<_, Error>>()?;
        table.set_state(TableState::new(schema.clone(), indexes.clone(), expiry));
        let dropped =
            old.indexes.iter().filter(|i| schema.indexed().all(|a| a.name != i.attribute));
        for index in dropped.chain(indexes.iter().filter(|index| !index.ready)) {
            clear(shared, index)?;
        }
        self.fill(table, schema, indexes)
    }

    /// Completes the indexes that are not ready and publishes them.
    fn fill(
        &self,
        table: &Table,
        schema: TableSchema,
        indexes: Vec<Arc<Index>>,
    ) -> Result<(), Error> {
        let shared = &self.shared;
        let unready: Vec<&Index> =
            indexes.iter().filter(|index| !index.ready).map(|index| &**index).collect();
        if unready.is_empty() {
            return Ok(());
        }
        let mut after = None;
        loop {
            let mut txn = shared.write()?;
            let slice = Slice::read(&txn, table, &unready, after.as_ref())?;
            self.check_room(slice.bytes)?;
            after = slice.write(&mut txn, &unready)?;
            txn.commit()?;
            if after.is_none() {
                break;
            }
        }
        let ready = schema.indexed().map(|attribute| attribute.name.clone()).collect();
        let expiry = table.state().expiry;
        let entry =
            Entry { id: table.id(), schema: schema.clone(), ready, expires: expiry.is_some() };
        let mut txn = shared.write()?;
        catalog::put_entry(&mut txn, shared.meta, &entry)?;
        txn.commit()?;
        let complete = indexes.into_iter().map(|index| {
            if index.ready {
                return index;
            }
            let Index { attribute, kind, entries, generation, ready: _, made } = &*index;
            Arc::new(Index {
                attribute: attribute.clone(),
                kind: kind.clone(),
                entries: *entries,
                generation: *generation,
                ready: true,
                made: made.clone(),
            })
        });
        table.set_state(TableState::new(schema, complete.collect(), expiry));
        Ok(())
    }
}

/// The named databases of a table: the records, the expiry tree if there is one, each index and,
/// where its values are not stored, these.
pub(crate) fn names(entry: &Entry) -> Vec<String> {
    let indexes = entry.schema.indexed().flat_map(|a| {
        let values = a.computed.as_ref().map(|_| db_name::values(entry.id, &a.name));
        std::iter::once(db_name::index(entry.id, &a.name)).chain(values)
    });
    let expiry = entry.expires.then(|| db_name::expiry(entry.id));
    std::iter::once(db_name::records(entry.id)).chain(expiry).chain(indexes).collect()
}

/// A table from its catalog entry and the handles of [`names`], in that order.
pub(crate) fn assemble(
    shared: &Arc<Shared>,
    entry: Entry,
    handles: &mut impl Iterator<Item = Handle>,
) -> Result<Table, Error> {
    let Entry { id, schema, ready, expires } = entry;
    let schema = schema.bound(&shared.evaluator);
    let records = handles.next().ok_or(Error::TablesFull)?;
    let expiry = if expires { Some(handles.next().ok_or(Error::TablesFull)?) } else { None };
    let indexes = schema
        .indexed()
        .map(|attribute| new_index(attribute, handles, ready.contains(&attribute.name)));
    let indexes = indexes.collect::<Result<_, Error>>()?;
    Ok(Table::new(shared.clone(), id, records, TableState::new(schema, indexes, expiry)))
}

/// An index with the next of the handles.
fn new_index(
    attribute: &Attribute,
    handles: &mut impl Iterator<Item = Handle>,
    ready: bool,
) -> Result<Arc<Index>, Error> {
    let mut handle = || handles.next().ok_or(Error::TablesFull);
    let entries = handle()?;
    let made = match &attribute.computed {
        Some(computed) => Some(Made { computed: computed.clone(), values: handle()? }),
        None => None,
    };
    Ok(Arc::new(Index {
        attribute: attribute.name.clone(),
        kind: attribute.kind.clone(),
        entries,
        generation: GENERATION.fetch_add(1, Ordering::Relaxed),
        ready,
        made,
    }))
}

fn clear(shared: &Shared, index: &Index) -> Result<(), Error> {
    let mut txn = shared.write()?;
    index.clear(&mut txn)?;
    Ok(txn.commit()?)
}

/// What of some records goes into new indexes.
struct Slice {
    /// For each record its key, and its value for each index.
    records: Vec<(Key, Vec<Option<Vec<u8>>>)>,
    /// Bytes of the values.
    bytes: usize,
    /// Whether no record is left after these.
    is_last: bool,
}

impl Slice {
    /// Reads the records after a key.
    fn read(
        txn: &RwTxn<'_>,
        table: &Table,
        indexes: &[&Index],
        after: Option<&Key>,
    ) -> Result<Slice, Error> {
        let names: Vec<Box<[u8]>> = indexes.iter().map(|i| json::escaped(&i.attribute)).collect();
        let start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_bytes()));
        let until = Instant::now() + SLICE_TIME;
        let mut slice = Slice { records: Vec::new(), bytes: 0, is_last: false };
        let mut stored = Vec::new();
        for item in table.records().range(txn, &(start, Bound::Unbounded))? {
            let (key, value) = item?;
            let (key, body) = (Key::from_stored(key), record::read(value)?.body);
            json::extract(body, &names, &mut stored);
            let values = indexes.iter().zip(&stored).map(|(index, stored)| {
                let made = index.evaluate(body).map_err(|error| unindexed(table, &key, &error))?;
                Ok(made.or_else(|| stored.map(<[u8]>::to_vec)))
            });
            let values = values.collect::<Result<Vec<_>, Error>>()?;
            slice.bytes += values.iter().flatten().map(Vec::len).sum::<usize>();
            slice.records.push((key, values));
            let is_large = slice.records.len() >= SLICE_RECORDS || slice.bytes >= SLICE_BYTES;
            if is_large || until <= Instant::now() {
                return Ok(slice);
            }
        }
        Ok(Slice { is_last: true, ..slice })
    }

    /// Adds the records to the indexes; returns the last key while there may be more.
    fn write(mut self, txn: &mut RwTxn<'_>, indexes: &[&Index]) -> Result<Option<Key>, Error> {
        for (key, values) in &self.records {
            for (index, value) in indexes.iter().zip(values) {
                index.follow(txn, key, [None, value.as_deref()])?;
            }
        }
        Ok(self.records.pop().filter(|_| !self.is_last).map(|(key, _)| key))
    }
}

/// A record without a value cannot be left out of an index, or queries would not find it.
fn unindexed(table: &Table, key: &Key, error: &Error) -> Error {
    let reason = format!("for the record with the key {}: {error}", key.to_json());
    table.schema().incompatible(&reason)
}
