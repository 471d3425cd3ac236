//! A store in a temporary directory, and short ways to define, write and read.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::sync::Arc;

use harper_store::{
    Attribute, Budget, Comparator, Database, Error, Events, Filter, Key, Kind, Op, Options,
    Outcome, Precondition, Prepared, Query, ReadTxn, Sort, Step, Store, Stretch, Table,
    TableSchema, Value,
};
use tempfile::TempDir;

pub(crate) struct Fixture {
    pub(crate) root: TempDir,
    pub(crate) store: Option<Store>,
    pub(crate) options: Options,
}

pub(crate) fn options() -> Options {
    Options { map_bytes: 64 << 20, tables_max: 32, free_bytes_min: 0, ..Options::default() }
}

impl Fixture {
    pub(crate) fn new() -> Fixture {
        Fixture::with(options())
    }

    pub(crate) fn with(options: Options) -> Fixture {
        let root = tempfile::tempdir().unwrap();
        let mut fixture = Fixture { root, store: None, options };
        fixture.reopen().unwrap();
        fixture
    }

    /// Closes the store, if it is open, and opens it again.
    pub(crate) fn reopen(&mut self) -> Result<(), Error> {
        self.store = None;
        let path = self.root.path().join("database");
        self.store = Some(Store::open(self.root.path(), &path, self.options.clone())?);
        Ok(())
    }

    pub(crate) fn database(&self) -> Arc<Database> {
        self.store.as_ref().unwrap().database("data").unwrap()
    }
}

pub(crate) fn attribute(name: &str, kind: Kind, indexed: bool) -> Attribute {
    Attribute { indexed, ..Attribute::new(name, kind) }
}

pub(crate) fn schema(name: &str, attributes: Vec<Attribute>) -> TableSchema {
    TableSchema::new("data", name, attributes)
}

pub(crate) fn key(table: &Table, text: &str) -> Key {
    Key::from_path(&table.schema(), text).unwrap()
}

pub(crate) fn put(table: &Table, id: &str, body: &str) -> Op {
    let body = Prepared::put(&table.schema(), body.as_bytes()).unwrap();
    Op::Put { table: table.clone(), key: key(table, id), body, when: Precondition::None }
}

pub(crate) fn patch(table: &Table, id: &str, body: &str) -> Op {
    let body = Prepared::patch(&table.schema(), body.as_bytes()).unwrap();
    Op::Patch { table: table.clone(), key: key(table, id), body, when: Precondition::None }
}

pub(crate) fn insert(table: &Table, body: &str) -> Op {
    let body = Prepared::put(&table.schema(), body.as_bytes()).unwrap();
    Op::Insert { table: table.clone(), key: None, body }
}

pub(crate) fn delete(table: &Table, id: &str) -> Op {
    let (table, key) = (table.clone(), key(table, id));
    Op::Delete { table, key, when: Precondition::None, extra: bytes::Bytes::new() }
}

pub(crate) fn commit(database: &Database, op: Op) -> Result<Outcome, Error> {
    database.commit(vec![op]).map(|mut outcomes| outcomes.remove(0))
}

pub(crate) fn get(database: &Database, table: &Table, id: &str) -> Option<String> {
    let txn = database.read().unwrap();
    let record = table.get(&txn, &key(table, id)).unwrap();
    record.map(|record| String::from_utf8(record.body.to_vec()).unwrap())
}

/// What happened after a sequence number, as the log tells it, of at most `entries_max` entries.
pub(crate) fn events(
    txn: &ReadTxn<'_>,
    table: &Table,
    after: u64,
    entries_max: usize,
) -> Result<Events, Error> {
    table.events_after(txn, after, Stretch { entries_max, bytes_max: usize::MAX }, |_| true)
}

/// Runs a query to its end in steps of `rows_max` entries.
pub(crate) fn run(
    database: &Database,
    table: &Table,
    query: Query,
    rows_max: usize,
) -> Result<Vec<String>, Error> {
    let mut run = table.query(query)?;
    let mut found = Vec::new();
    loop {
        let txn = database.read()?;
        let budget = Budget { rows_max, bytes_max: usize::MAX };
        let step = run.step(&txn, budget, &mut |record| {
            found.push(String::from_utf8(record.body.to_vec()).unwrap());
        })?;
        if step == Step::Done {
            return Ok(found);
        }
    }
}

pub(crate) fn compare(attribute: &str, comparator: Comparator, value: Value) -> Filter {
    Filter::Compare { attribute: attribute.into(), comparator, value }
}

pub(crate) fn number(value: i64) -> Value {
    Value::Number(value as f64)
}

pub(crate) fn text(value: &str) -> Value {
    Value::String(value.into())
}

pub(crate) fn descending(attribute: &str) -> Sort {
    Sort { via: Vec::new(), attribute: attribute.into(), descending: true }
}

pub(crate) fn ascending(attribute: &str) -> Sort {
    Sort { descending: false, ..descending(attribute) }
}
