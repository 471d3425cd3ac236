//! A table of the `system` database whose records are values of one Rust type. It is written and read whole records
//! at a time, and its calls wait for the disk.

use bytes::Bytes;
use harper_store::{
    Attribute, Budget, Comparator, Database, Error, Filter, Key, Op, Outcome, Precondition,
    Prepared, Query, Step, Table, TableSchema, Value,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Name of the database.
const DATABASE: &str = "system";

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SystemError {
    /// The store refused.
    #[error("the system database could not be read or written: {0}")]
    Store(#[from] Error),
    /// A record is not of the form that is known.
    #[error("a record of the table {table} cannot be read: {error}")]
    Form {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        error: serde_json::Error,
    },
}

/// One table.
pub(crate) struct SystemTable {
    name: &'static str,
    database: Arc<Database>,
    table: Table,
}

impl SystemTable {
    /// Opens the table, which is made where it is missing. The first attribute is the primary key, and text.
    ///
    /// # Errors
    /// The store's refusal.
    pub(crate) fn open(
        database: &Arc<Database>,
        name: &'static str,
        attributes: Vec<Attribute>,
    ) -> Result<Self, SystemError> {
        let table = database.define(TableSchema::new(DATABASE, name, attributes))?;
        Ok(Self { name, database: Arc::clone(database), table })
    }

    /// Stores a record under its key.
    ///
    /// # Errors
    /// The store's refusal.
    pub(crate) fn put<T: Serialize>(&self, key: &str, record: &T) -> Result<(), SystemError> {
        let schema = self.table.schema();
        let body = serde_json::to_vec(record).map_err(|error| self.form(error))?;
        let body = Prepared::put(&schema, &body).map_err(Error::Invalid)?;
        let key = Key::from_path(&schema, key)?;
        let op = Op::Put { table: self.table.clone(), key, body, when: Precondition::None };
        self.database.commit(vec![op])?;
        Ok(())
    }

    /// Removes the records under these keys, in one transaction; returns how many there were.
    ///
    /// # Errors
    /// The store's refusal.
    pub(crate) fn delete(&self, keys: &[String]) -> Result<usize, SystemError> {
        let schema = self.table.schema();
        let ops = keys.iter().map(|key| {
            let key = Key::from_path(&schema, key)?;
            let (table, when) = (self.table.clone(), Precondition::None);
            Ok(Op::Delete { table, key, when, extra: Bytes::new() })
        });
        let ops = ops.collect::<Result<Vec<_>, Error>>()?;
        if ops.is_empty() {
            return Ok(0);
        }
        let outcomes: Vec<Outcome> = self.database.commit(ops)?;
        Ok(outcomes.iter().filter(|outcome| outcome.existed).count())
    }

    /// The record under a key.
    ///
    /// # Errors
    /// The store's refusal, or a record of another form.
    pub(crate) fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, SystemError> {
        let key = Key::from_path(&self.table.schema(), key)?;
        let txn = self.database.read()?;
        let Some(record) = self.table.get(&txn, &key)? else { return Ok(None) };
        serde_json::from_slice(record.body).map(Some).map_err(|error| self.form(error))
    }

    /// How many records there are.
    ///
    /// # Errors
    /// The store's refusal.
    pub(crate) fn count(&self) -> Result<u64, SystemError> {
        Ok(self.table.count(&self.database.read()?)?)
    }

    /// Every record.
    ///
    /// # Errors
    /// The store's refusal, or a record of another form.
    pub(crate) fn all<T: DeserializeOwned>(&self) -> Result<Vec<T>, SystemError> {
        self.found(Query::default())
    }

    /// Every record whose attribute, which has an index, is this text.
    ///
    /// # Errors
    /// As [`SystemTable::all`].
    pub(crate) fn all_with<T: DeserializeOwned>(
        &self,
        attribute: &str,
        text: &str,
    ) -> Result<Vec<T>, SystemError> {
        let attribute = attribute.to_owned();
        let value = Value::String(text.to_owned());
        let filter = Filter::Compare { attribute, comparator: Comparator::Equal, value };
        self.found(Query { filter: Some(filter), ..Query::default() })
    }

    fn found<T: DeserializeOwned>(&self, query: Query) -> Result<Vec<T>, SystemError> {
        let mut run = self.table.query(query)?;
        let mut found = Vec::new();
        loop {
            let txn = self.database.read()?;
            let budget = Budget { rows_max: 1024, bytes_max: 1 << 20 };
            let step = run.step(&txn, budget, &mut |record| {
                found.push(serde_json::from_slice(record.body));
            })?;
            if step == Step::Done {
                return found.into_iter().collect::<Result<_, _>>().map_err(|e| self.form(e));
            }
        }
    }

    fn form(&self, error: serde_json::Error) -> SystemError {
        SystemError::Form { table: self.name, error }
    }
}
