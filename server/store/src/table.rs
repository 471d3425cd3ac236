//! A table as its users hold it.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::catalog::Counter;
use crate::database::{ReadTxn, Shared};
use crate::env::Handle;
use crate::error::Error;
use crate::expiry;
use crate::hlc;
use crate::index::Index;
use crate::join::{Join, Related};
use crate::json;
use crate::key::Key;
use crate::layout::Layout;
use crate::observer::TableId;
use crate::query::{Query, QueryRun};
use crate::record::{self, Record};
use crate::schema::TableSchema;

/// Records that have expired which planning a query looks at.
const EXPIRED_COUNTED_MAX: usize = 4096;

/// A handle on one table; cheap to clone, valid as long as the process.
#[derive(Clone)]
pub struct Table(Arc<Inner>);

struct Inner {
    id: u32,
    name: String,
    records: Handle,
    shared: Arc<Shared>,
    state: ArcSwap<TableState>,
}

/// What a new definition replaces as a whole.
pub(crate) struct TableState {
    pub(crate) schema: Arc<TableSchema>,
    pub(crate) layout: Layout,
    pub(crate) indexes: Vec<Arc<Index>>,
    /// Escaped names of the indexed attributes, in the order of `indexes`.
    pub(crate) index_names: Vec<Box<[u8]>>,
    /// The tree of the times at which records expire; kept for good once there was a need of it.
    pub(crate) expiry: Option<Handle>,
}

impl TableState {
    pub(crate) fn new(
        schema: TableSchema,
        indexes: Vec<Arc<Index>>,
        expiry: Option<Handle>,
    ) -> TableState {
        let layout = Layout::new(&schema);
        let index_names = indexes.iter().map(|index| json::escaped(&index.attribute)).collect();
        TableState { schema: Arc::new(schema), layout, indexes, index_names, expiry }
    }

    /// The index on an attribute, if it is complete.
    pub(crate) fn index(&self, attribute: &str) -> Option<&Arc<Index>> {
        self.indexes.iter().find(|index| index.ready && index.attribute == attribute)
    }

    /// For each index what it holds of a record with this body, where that is not stored.
    ///
    /// # Errors
    /// [`Error::Unevaluated`].
    pub(crate) fn evaluate(&self, body: &[u8]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        self.indexes.iter().map(|index| index.evaluate(body)).collect()
    }
}

impl Table {
    pub(crate) fn new(shared: Arc<Shared>, id: u32, records: Handle, state: TableState) -> Table {
        let name = state.schema.name.clone();
        Table(Arc::new(Inner { id, name, records, shared, state: ArcSwap::from_pointee(state) }))
    }

    /// The definition in force.
    pub fn schema(&self) -> Arc<TableSchema> {
        self.0.state.load().schema.clone()
    }

    /// Name of the table.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Name of the database.
    pub fn database(&self) -> &str {
        &self.0.shared.name
    }

    /// The table's number, by which an [`Observer`](crate::Observer) knows it.
    pub fn identity(&self) -> TableId {
        TableId { database: self.0.shared.number, table: self.0.id }
    }

    /// The record with a key, in place: valid as long as the transaction.
    ///
    /// # Errors
    /// [`Error::WrongDatabase`] for a transaction of another database; storage errors.
    pub fn get<'t>(&self, txn: &'t ReadTxn<'_>, key: &Key) -> Result<Option<Record<'t>>, Error> {
        self.check(txn)?;
        match self.0.records.get(txn.inner(), key.as_bytes())? {
            Some(value) => record::read_live(value),
            None => Ok(None),
        }
    }

    /// How many records there are; read from the tree's root, so it costs nothing but a look at
    /// each that has expired and is not removed yet.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn count(&self, txn: &ReadTxn<'_>) -> Result<u64, Error> {
        let stored = self.count_stored(txn)?;
        let expired = match self.state().expiry {
            Some(tree) => expiry::count(tree, txn.inner(), hlc::now_ms(), usize::MAX)?,
            None => 0,
        };
        Ok(stored.saturating_sub(expired))
    }

    /// The same with those that have expired and are not removed yet; it costs nothing, however many they are.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn count_stored(&self, txn: &ReadTxn<'_>) -> Result<u64, Error> {
        self.check(txn)?;
        Ok(self.0.records.len(txn.inner())?)
    }

    /// Whether there are more records than so many; also false when only a look at very many that
    /// have expired could tell.
    pub(crate) fn has_more_than(&self, max: u64, txn: &ReadTxn<'_>) -> Result<bool, Error> {
        let stored = self.0.records.len(txn.inner())?;
        let tree = self.state().expiry.filter(|_| stored > max);
        let Some(tree) = tree else { return Ok(stored > max) };
        let expired = expiry::count(tree, txn.inner(), hlc::now_ms(), EXPIRED_COUNTED_MAX)?;
        Ok(expired < EXPIRED_COUNTED_MAX as u64 && stored.saturating_sub(expired) > max)
    }

    /// Plans a query; nothing but the sizes of indexes is read yet.
    ///
    /// # Errors
    /// [`Error::UnknownAttribute`] for a condition or sort on an attribute that is not declared,
    /// [`Error::ScanTooLarge`] for one that would read too large a table; those of
    /// [`Table::related`].
    #[allow(clippy::needless_pass_by_value, reason = "a query is made to be run once")]
    pub fn query(&self, query: Query) -> Result<QueryRun, Error> {
        let run = QueryRun::plan_query(self.clone(), &query)?;
        run.refuse_search()?;
        Ok(run)
    }

    /// A relationship from records of this table, to be followed one record at a time.
    ///
    /// # Errors
    /// [`Error::UnknownAttribute`], [`Error::NoIndex`], and [`Error::WrongDatabase`] for a table of
    /// another database.
    pub fn related(&self, join: &Join) -> Result<Related, Error> {
        Related::new(self, join)
    }

    /// Sequence number of the last write, 0 if there was none.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn last_sequence(&self, txn: &ReadTxn<'_>) -> Result<u64, Error> {
        self.check(txn)?;
        Counter::Sequence(self.0.id).get(txn.inner(), self.0.shared.meta)
    }

    /// heed panics when a handle meets a transaction of another environment.
    pub(crate) fn check(&self, txn: &ReadTxn<'_>) -> Result<(), Error> {
        if std::ptr::eq(txn.shared(), Arc::as_ptr(&self.0.shared)) {
            return Ok(());
        }
        Err(Error::WrongDatabase { table: self.0.name.clone() })
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id
    }

    pub(crate) fn records(&self) -> Handle {
        self.0.records
    }

    /// The trees that hold the records and what is kept beside them.
    pub(crate) fn trees(&self) -> Vec<Handle> {
        let state = self.state();
        let mut trees = vec![self.0.records];
        trees.extend(state.expiry);
        for index in &state.indexes {
            trees.push(index.entries);
            trees.extend(index.made.as_ref().map(|made| made.values));
        }
        trees
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    pub(crate) fn state(&self) -> Arc<TableState> {
        self.0.state.load_full()
    }

    pub(crate) fn set_state(&self, state: TableState) {
        self.0.state.store(Arc::new(state));
    }
}

impl PartialEq for Table {
    fn eq(&self, other: &Table) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({}.{})", self.database(), self.name())
    }
}
