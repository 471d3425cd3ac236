//! A filter tested against one record at a time, wherever its body comes from.

use crate::database::ReadTxn;
use crate::error::Error;
use crate::filter::Filter;
use crate::join::Lookups;
use crate::node::{Fields, Node, Values};
use crate::planner;
use crate::table::Table;

/// Tests whether records of a table meet a filter.
#[derive(Debug)]
pub struct Matcher {
    table: Table,
    fields: Fields,
    node: Node,
}

impl Matcher {
    /// A filter on the records of a table.
    ///
    /// # Errors
    /// [`Error::UnknownAttribute`] for an attribute that is not declared; those of [`Table::related`].
    pub fn new(table: &Table, filter: &Filter) -> Result<Matcher, Error> {
        let (mut fields, mut used) = (Fields::default(), Vec::new());
        let node = planner::compile(filter, table, &mut fields, &mut used)?;
        Ok(Matcher { table: table.clone(), fields, node })
    }

    /// Whether a record with this body meets the filter; related records are looked up in the
    /// transaction.
    ///
    /// # Errors
    /// [`Error::WrongDatabase`]; storage errors.
    pub fn holds<'t>(&self, txn: &'t ReadTxn<'t>, body: &'t [u8]) -> Result<bool, Error> {
        self.table.check(txn)?;
        let mut values = Values::default();
        self.fields.extract(body, &mut values);
        self.node.holds(&self.fields, &values, &Lookups::new(txn))
    }
}
