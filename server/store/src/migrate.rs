//! The format of a database, and the steps from each format to the next.
//!
//! A change to what is stored adds a function to [`STEPS`], in a file of its own. Opening a
//! database runs the steps it lacks in one transaction, and refuses one of a later format.

mod expiry;
mod messages;

use heed::RwTxn;

use crate::catalog;
use crate::env::Handle;
use crate::error::Error;

/// Rewrites what is stored from one format to the next.
type Step = fn(&mut RwTxn<'_>, Handle) -> Result<(), Error>;

/// The step at position n leads from format n + 1 to n + 2.
const STEPS: &[Step] = &[expiry::run, messages::run];

/// The format this build writes.
pub(crate) const FORMAT: u32 = 1 + STEPS.len() as u32;

/// Brings the database to [`FORMAT`]; a new one just gets its number.
pub(crate) fn run(txn: &mut RwTxn<'_>, meta: Handle) -> Result<(), Error> {
    let found = catalog::format(txn, meta)?.unwrap_or(FORMAT);
    if found > FORMAT {
        return Err(Error::NewerFormat { found, known: FORMAT });
    }
    let done = usize::try_from(found.saturating_sub(1)).unwrap_or(usize::MAX);
    for step in STEPS.iter().skip(done) {
        step(txn, meta)?;
    }
    if catalog::format(txn, meta)? != Some(FORMAT) {
        catalog::put_format(txn, meta, FORMAT)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Counter;
    use crate::events::Stretch;
    use crate::key::Key;
    use crate::observer::Operation;
    use crate::options::Options;
    use crate::schema::{Attribute, Expiry, Kind, TableSchema};
    use crate::store::Store;

    #[test]
    fn a_database_of_the_first_format_opens_and_its_tables_can_expire() {
        let root = tempfile::tempdir().unwrap();
        let options = Options { map_bytes: 16 << 20, free_bytes_min: 0, ..Options::default() };
        let open = || Store::open(root.path(), &root.path().join("d"), options.clone()).unwrap();
        let schema = TableSchema::new("data", "T", vec![Attribute::new("id", Kind::Id)]);
        {
            let store = open();
            let database = store.database("data").unwrap();
            database.define(schema.clone()).unwrap();
            let shared = &database.shared;
            let mut txn = shared.environment.write_txn().unwrap();
            catalog::put_format(&mut txn, shared.meta, 1).unwrap();
            let first = br#"{"id":1,"schema":{"database":"data","name":"T","attributes":[{"name":"id","kind":"Id","required":false,"indexed":false,"role":"Plain"}],"primary_key":0,"sealed":false},"ready":[]}"#;
            shared.meta.put(&mut txn, b"table/T", first).unwrap();
            txn.commit().unwrap();
        }
        let store = open();
        let database = store.database("data").unwrap();
        assert_eq!(*database.table("T").unwrap().schema(), schema);
        let txn = database.shared.environment.write_txn().unwrap();
        assert_eq!(catalog::format(&txn, database.shared.meta).unwrap(), Some(FORMAT));
        drop(txn);
        let expiry = Some(Expiry { lifetime_ms: Some(1), kept_ms: 0, sweep_ms: None });
        let table = database.define(TableSchema { expiry, ..schema }).unwrap();
        assert!(table.state().expiry.is_some());
    }

    #[test]
    fn a_database_of_the_second_format_keeps_its_log_and_gets_an_epoch() {
        let root = tempfile::tempdir().unwrap();
        let options = Options { map_bytes: 16 << 20, free_bytes_min: 0, ..Options::default() };
        let open = || Store::open(root.path(), &root.path().join("d"), options.clone()).unwrap();
        let key = {
            let store = open();
            let database = store.database("data").unwrap();
            let attributes = vec![Attribute::new("id", Kind::Id)];
            let table = database.define(TableSchema::new("data", "T", attributes)).unwrap();
            let key = Key::from_path(&table.schema(), "a").unwrap();
            let shared = &database.shared;
            let mut txn = shared.environment.write_txn().unwrap();
            catalog::put_format(&mut txn, shared.meta, 2).unwrap();
            shared.meta.delete(&mut txn, b"epoch").unwrap();
            let place = [&table.identity().table.to_be_bytes()[..], &1u64.to_be_bytes()].concat();
            let header = [&[1, 0, 0, 0, 0, 0, 0, 0][..], &9u64.to_le_bytes()].concat();
            shared.log.put(&mut txn, &place, &[&*header, key.as_bytes()].concat()).unwrap();
            Counter::Sequence(table.identity().table).put(&mut txn, shared.meta, 1).unwrap();
            txn.commit().unwrap();
            key
        };
        let epoch = {
            let store = open();
            let database = store.database("data").unwrap();
            let table = database.table("T").unwrap();
            let txn = database.read().unwrap();
            let stretch = Stretch { entries_max: 9, bytes_max: 999 };
            let events = table.events_after(&txn, 0, stretch, |_| true).unwrap().events;
            let [event] = &*events else { panic!("{events:?}") };
            assert_eq!((event.operation, event.version), (Operation::Delete, 9));
            assert_eq!(event.key, key);
            database.epoch()
        };
        assert_eq!(open().database("data").unwrap().epoch(), epoch);
    }
}
