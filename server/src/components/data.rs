//! `dataLoader`: records from JSON or YAML files, put into their tables at start without undoing what users
//! changed since.

use harper_config::Place;
use harper_store::{
    Attribute, Database, Error, Key, Kind, Op, Precondition, Prepared, Store, Table, TableSchema,
};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Records that are submitted together.
const BATCH_RECORDS: usize = 500;

/// A file of records.
#[derive(Debug)]
pub(crate) struct DataFile {
    /// The file.
    pub path: PathBuf,
    /// Database of the table.
    pub database: String,
    /// The table.
    pub table: String,
    records: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default)]
    database: Option<String>,
    table: String,
    records: Vec<serde_json::Value>,
}

/// Why records could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The table is not defined by any schema.
    #[error("{file}: table {database}.{table} is not defined")]
    NoTable {
        /// The file.
        file: String,
        /// The database it names.
        database: String,
        /// The table it names.
        table: String,
    },
    /// A record cannot be stored.
    #[error("{file}: record {number}: {reason}")]
    Record {
        /// The file.
        file: String,
        /// Its position in the file, from 1.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The store refused.
    #[error("records could not be loaded: {0}")]
    Store(#[from] Error),
}

/// Reads one file.
pub(super) fn read(path: &Path) -> Result<DataFile, (Place, String)> {
    let text =
        std::fs::read_to_string(path).map_err(|error| (Place::default(), error.to_string()))?;
    let content = match path.extension().is_some_and(|extension| extension == "json") {
        true => from_json(&text),
        false => from_yaml(&text),
    }?;
    let Content { database, table, records } = content;
    let database = database.unwrap_or_else(|| "data".to_owned());
    Ok(DataFile { path: path.to_owned(), database, table, records })
}

fn from_json(text: &str) -> Result<Content, (Place, String)> {
    serde_json::from_str(text).map_err(|error| {
        let place = Place { line: error.line() as u64, column: error.column() as u64 };
        (place, error.to_string())
    })
}

fn from_yaml(text: &str) -> Result<Content, (Place, String)> {
    let root = harper_config::parse(text)?;
    serde_json::from_value(root.to_json()).map_err(|error| (root.place(), error.to_string()))
}

/// Puts a file's records into their table. A record is written when it is absent, or when it is still as the
/// loader last wrote it and the file has changed; what anybody else wrote stays. Returns how many were written.
///
/// # Errors
/// An undefined table, a record that breaks the schema, the store's refusal.
pub(crate) fn load(store: &Store, file: &DataFile) -> Result<usize, LoadError> {
    let name = file.path.display().to_string();
    let database = store.database(&file.database)?;
    let Some(table) = database.table(&file.table) else {
        let (database, table) = (file.database.clone(), file.table.clone());
        return Err(LoadError::NoTable { file: name, database, table });
    };
    let memory = Memory::open(store)?;
    let mut written = 0;
    for (batch, records) in file.records.chunks(BATCH_RECORDS).enumerate() {
        let mut puts = Vec::new();
        for (index, record) in records.iter().enumerate() {
            let number = batch * BATCH_RECORDS + index + 1;
            let failed = |reason: String| LoadError::Record { file: name.clone(), number, reason };
            let text = record.to_string();
            let (key, body) = prepare(&table, &text).map_err(failed)?;
            let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
            let note = format!("{}.{}.{}", file.database, file.table, key.to_json());
            if let Some(when) = memory.condition(&database, &table, &key, &note, &hash)? {
                puts.push((Op::Put { table: table.clone(), key, body, when }, note, hash));
            }
        }
        let notes = put_all(&database, puts)?;
        written += notes.len();
        memory.remember(notes)?;
    }
    Ok(written)
}

/// Submits each record on its own, since each has its own condition; the writer lets them share syncs. Returns what was
/// written, as (note, hash, version).
fn put_all(
    database: &Database,
    puts: Vec<(Op, String, String)>,
) -> Result<Vec<(String, String, u64)>, Error> {
    let (answers, outcomes) = crossbeam_channel::bounded(puts.len().max(1));
    let mut expected = 0;
    for (put, note, hash) in puts {
        let answers = answers.clone();
        let done = Box::new(move |outcome| {
            // the channel has room for every answer
            let _ = answers.send((note, hash, outcome));
        });
        database.submit(vec![put], done)?;
        expected += 1;
    }
    let mut written = Vec::new();
    for (note, hash, outcome) in outcomes.iter().take(expected) {
        match outcome {
            Ok(outcomes) => {
                written.extend(
                    outcomes.first().map(|one| (note.clone(), hash.clone(), one.meta.version)),
                );
            }
            // somebody wrote it just now: theirs stays
            Err(Error::PreconditionFailed { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

fn prepare(table: &Table, text: &str) -> Result<(Key, Prepared), String> {
    let schema = table.schema();
    let body = Prepared::put(&schema, text.as_bytes()).map_err(|error| error.to_string())?;
    let key = body.key().ok_or_else(|| format!("it has no {}", schema.key_attribute().name))?;
    Ok((key, body))
}

/// What the loader wrote: for each record, the hash of its text and the version it got.
struct Memory {
    database: std::sync::Arc<Database>,
    table: Table,
}

#[derive(Deserialize)]
struct Note {
    hash: String,
    version: String,
}

impl Memory {
    fn open(store: &Store) -> Result<Self, Error> {
        let database = store.database("system")?;
        let attribute =
            |name: &str| Attribute { required: true, ..Attribute::new(name, Kind::String) };
        let table = database.define(TableSchema::new(
            "system",
            "hdb_dataloader",
            vec![attribute("id"), attribute("hash"), attribute("version")],
        ))?;
        Ok(Self { database, table })
    }

    /// Under which condition the record may be written; none when it is not to be.
    fn condition(
        &self,
        database: &Database,
        table: &Table,
        key: &Key,
        note: &str,
        hash: &str,
    ) -> Result<Option<Precondition>, Error> {
        let current = table.get(&database.read()?, key)?.map(|record| record.meta.version);
        Ok(match (current, self.recall(note)?) {
            (None, None) => Some(Precondition::Absent),
            // the loader wrote it before, so somebody has deleted it since
            (None, Some(_)) => None,
            (Some(current), Some(note))
                if note.version == current.to_string() && note.hash != hash =>
            {
                Some(Precondition::VersionIn(vec![current]))
            }
            (Some(_), _) => None,
        })
    }

    fn recall(&self, note: &str) -> Result<Option<Note>, Error> {
        let key = Key::from_path(&self.table.schema(), note)?;
        let txn = self.database.read()?;
        let record = self.table.get(&txn, &key)?;
        Ok(record.and_then(|record| serde_json::from_slice(record.body).ok()))
    }

    fn remember(&self, notes: Vec<(String, String, u64)>) -> Result<(), Error> {
        let schema = self.table.schema();
        let ops = notes.into_iter().map(|(note, hash, version)| {
            let body = serde_json::json!({"hash": hash, "version": version.to_string()});
            let body =
                Prepared::put(&schema, body.to_string().as_bytes()).map_err(Error::Invalid)?;
            let key = Key::from_path(&schema, &note)?;
            Ok(Op::Put { table: self.table.clone(), key, body, when: Precondition::None })
        });
        let ops = ops.collect::<Result<Vec<_>, Error>>()?;
        if !ops.is_empty() {
            self.database.commit(ops)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        root: tempfile::TempDir,
        store: Store,
        table: Table,
    }

    fn fixture() -> Fixture {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(
            root.path(),
            &root.path().join("database"),
            harper_store::Options::default(),
        )
        .unwrap();
        let attribute = |name: &str| Attribute::new(name, Kind::String);
        let schema = TableSchema::new("data", "Dog", vec![attribute("id"), attribute("name")]);
        let table = store.database("data").unwrap().define(schema).unwrap();
        Fixture { root, store, table }
    }

    impl Fixture {
        fn load(&self, text: &str) -> Result<usize, LoadError> {
            let path = self.root.path().join("data.yaml");
            std::fs::write(&path, text).unwrap();
            load(&self.store, &read(&path).unwrap())
        }

        fn name(&self, id: &str) -> String {
            let database = self.store.database("data").unwrap();
            let txn = database.read().unwrap();
            let key = Key::from_path(&self.table.schema(), id).unwrap();
            let record = self.table.get(&txn, &key).unwrap().unwrap();
            let body: serde_json::Value = serde_json::from_slice(record.body).unwrap();
            body["name"].as_str().unwrap().to_owned()
        }
    }

    #[test]
    fn records_are_loaded_once_updated_with_the_file_and_never_over_a_users_change() {
        let fixture = fixture();
        let first = "table: Dog\nrecords:\n- {id: a, name: Rex}\n- {id: b, name: Bo}\n";
        assert_eq!(fixture.load(first).unwrap(), 2);
        assert_eq!(fixture.load(first).unwrap(), 0);
        let database = fixture.store.database("data").unwrap();
        let schema = fixture.table.schema();
        let (table, key) = (fixture.table.clone(), Key::from_path(&schema, "b").unwrap());
        let body = Prepared::put(&schema, br#"{"name":"Mine"}"#).unwrap();
        database.commit(vec![Op::Put { table, key, body, when: Precondition::None }]).unwrap();
        let second = "table: Dog\nrecords:\n- {id: a, name: Max}\n- {id: b, name: Bobby}\n";
        assert_eq!(fixture.load(second).unwrap(), 1);
        assert_eq!((fixture.name("a"), fixture.name("b")), ("Max".into(), "Mine".into()));
    }

    #[test]
    fn mistakes_name_the_file_and_the_record() {
        let fixture = fixture();
        let error = fixture
            .load("table: Dog\nrecords:\n- {id: a}\n- {id: b, name: 5}\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("data.yaml: record 2:"), "{error}");
        let error = fixture.load("table: Cat\nrecords: []\n").unwrap_err().to_string();
        assert!(error.contains("data.Cat is not defined"), "{error}");
    }
}
