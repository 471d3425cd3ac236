//! What can go wrong, each with what a caller needs to answer for it.

use std::path::{Path, PathBuf};

use crate::computed::NoValue;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The writer's queue is full, or all readers' slots are taken; the same request may succeed
    /// in a moment.
    #[error("the database is busy")]
    Busy,
    /// The file system is below the watermark; deletes still work.
    #[error("only {free_bytes} bytes of disk space are free, writes need {min_bytes}")]
    NoSpace {
        /// Bytes free for this process.
        free_bytes: u64,
        /// The watermark, from [`Options::free_bytes_min`](crate::Options::free_bytes_min).
        min_bytes: u64,
    },
    /// What is kept beside the tables takes as much as it may; removing some of it still works.
    #[error("what is kept beside the tables has reached {max} bytes")]
    SideFull {
        /// The limit, from [`Options::side_bytes_max`](crate::Options::side_bytes_max).
        max: u64,
    },
    /// Another store, in this process or another, has the root open.
    #[error("the root {} is in use by another server", root.display())]
    Locked {
        /// The root that was to be opened.
        root: PathBuf,
    },
    /// The root was written by Harper on Node.
    #[error(
        "{} was written by Harper on Node, whose files this server cannot read: \
         export the data there and load it here over REST", file.display()
    )]
    ForeignRoot {
        /// The file that gave it away.
        file: PathBuf,
    },
    /// A precondition did not hold; nothing was stored.
    #[error("the precondition failed")]
    PreconditionFailed {
        /// Version of the record as it is, `None` if there is none.
        current: Option<u64>,
    },
    /// A record with this key exists already.
    #[error("a record with this key exists already")]
    Exists,
    /// The body cannot be stored in this table.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The value that an index needs of a computed attribute is not known.
    #[error("Computed property {attribute} is indexed and cannot be evaluated: {reason}")]
    Unevaluated {
        /// Name of the attribute.
        attribute: String,
        /// The limit that was broken.
        reason: NoValue,
    },
    /// A key does not fit the type of the primary key.
    #[error("Invalid value for attribute {attribute}: {value:?}, expecting {expected}")]
    InvalidKey {
        /// Name of the primary key.
        attribute: String,
        /// What was given.
        value: String,
        /// The type it should have.
        expected: &'static str,
    },
    /// A query names an attribute that the table does not declare.
    #[error("{attribute} is not a defined attribute")]
    UnknownAttribute {
        /// The name as given.
        attribute: String,
    },
    /// A query would have to hold too many records to sort them.
    #[error("the query would sort more than {max} records: add a condition or a limit")]
    SortTooLarge {
        /// The limit, from [`Limits::sort_records_max`](crate::Limits::sort_records_max).
        max: usize,
    },
    /// A query would have to read too many records to find those it wants.
    #[error(
        "the query would read more than {max} records of {table} to find those it wants: \
         add a condition on an indexed attribute"
    )]
    ScanTooLarge {
        /// The table.
        table: String,
        /// The limit, from [`Limits::scan_records_max`](crate::Limits::scan_records_max).
        max: usize,
    },
    /// Related records cannot be looked up by an attribute.
    #[error("related records are looked up by {attribute}, which has no complete index")]
    NoIndex {
        /// The attribute.
        attribute: String,
    },
    /// An index that a running query reads was rebuilt or dropped; start the query again.
    #[error("the index on {attribute} changed while the query ran")]
    IndexChanged {
        /// The indexed attribute.
        attribute: String,
    },
    /// The database's memory map is full, or so nearly that what is left is for deletes.
    #[error("the database has reached its size limit")]
    MapFull,
    /// The change log no longer reaches back to the sequence asked for.
    #[error("the change log no longer holds the changes asked for")]
    LogTruncated,
    /// A table definition contradicts itself or the table as it exists.
    #[error("table {table} cannot be defined so: {reason}")]
    Incompatible {
        /// The table.
        table: String,
        /// What contradicts, as a clause.
        reason: String,
    },
    /// The database was written by a later release.
    #[error("the database has format {found}, this server knows formats up to {known}")]
    NewerFormat {
        /// Format number in the database.
        found: u32,
        /// Latest format number this build can read.
        known: u32,
    },
    /// A database or table name cannot be used.
    #[error("{name:?} is not a valid name: use 1 to 64 letters, digits, underscores or hyphens")]
    InvalidName {
        /// The name as given.
        name: String,
    },
    /// The store has as many databases open as it may.
    #[error("no more than {max} databases can be open")]
    DatabasesFull {
        /// The limit, from [`Options::databases_max`](crate::Options::databases_max).
        max: usize,
    },
    /// The database has as many tables and indexes as it may.
    #[error("the database has no room for another table or index")]
    TablesFull,
    /// The integers that can be primary keys are used up.
    #[error("table {table} has no integer key left to generate")]
    KeysExhausted {
        /// The table.
        table: String,
    },
    /// A transaction or operation was used with a table of another database.
    #[error("table {table} belongs to another database than the transaction")]
    WrongDatabase {
        /// The table.
        table: String,
    },
    /// The database is open in this process with other options.
    #[error("{} was opened earlier by this process with other options", path.display())]
    OptionsChanged {
        /// Directory of the database.
        path: PathBuf,
    },
    /// The writer has stopped; the outcome of the request is unknown.
    #[error("the writer of the database has stopped")]
    Stopped,
    /// The database can be used no more until the process has restarted.
    #[error("the database has failed and needs a restart of the server")]
    Failed,
    /// What was read from the database is not what the store writes.
    #[error("the database is damaged: {what}")]
    Damaged {
        /// What was found to be wrong.
        what: String,
    },
    /// The file system refused.
    #[error("{action} {}", path.display())]
    File {
        /// What was attempted, as a present participle.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// LMDB refused.
    #[error("storage failed: {0}")]
    Storage(String),
}

impl Error {
    /// Whether storage failed, so that the transaction it happened in must be abandoned; every
    /// other error is found before anything is written.
    pub(crate) fn is_storage(&self) -> bool {
        matches!(self, Error::Storage(_) | Error::MapFull | Error::Damaged { .. } | Error::Failed)
    }

    pub(crate) fn file(action: &'static str, path: &Path, source: std::io::Error) -> Error {
        Error::File { action, path: path.to_owned(), source }
    }
}

impl From<heed::Error> for Error {
    fn from(error: heed::Error) -> Error {
        match error {
            heed::Error::Mdb(heed::MdbError::MapFull) => Error::MapFull,
            heed::Error::Mdb(heed::MdbError::DbsFull) => Error::TablesFull,
            heed::Error::Mdb(heed::MdbError::ReadersFull) => Error::Busy,
            heed::Error::Mdb(heed::MdbError::Panic) => Error::Failed,
            other => Error::Storage(other.to_string()),
        }
    }
}

/// Why a body cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The body is not UTF-8.
    #[error("the body is not valid UTF-8")]
    NotUtf8,
    /// The body is not JSON.
    #[error("the body is not valid JSON: {message} at line {line} column {column}")]
    Syntax {
        /// What was wrong.
        message: String,
        /// Line, counted from 1.
        line: usize,
        /// Column in bytes, counted from 1.
        column: usize,
    },
    /// The body is JSON, but not an object.
    #[error("a record must be an object, not {found}")]
    NotAnObject {
        /// What was found, with its article.
        found: &'static str,
    },
    /// The body nests deeper than is stored.
    #[error("the body is nested deeper than {max} levels")]
    TooDeep {
        /// Levels allowed.
        max: usize,
    },
    /// A number is larger than a double can be.
    #[error("the number {number} is out of range")]
    NumberRange {
        /// The beginning of its text.
        number: String,
    },
    /// The body has more members than a record may be given at once.
    #[error("the body has more than {max} properties")]
    TooManyMembers {
        /// Members allowed.
        max: usize,
    },
    /// The body does not fit the schema: a sentence for each problem.
    #[error("{}", .0.join(". "))]
    Violations(Vec<String>),
    /// There is too much to keep beside the record.
    #[error("{bytes} bytes are to be kept beside the record, at most {max} are allowed")]
    ExtraTooLong {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The primary key is too long.
    #[error("the primary key has {bytes} bytes, at most {max} are allowed")]
    KeyTooLong {
        /// Bytes of the key given.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
}

/// A word of a query that does not fit the type of the attribute it is compared with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a value of type {expected}")]
pub struct InvalidValue {
    /// The word as given.
    pub value: String,
    /// Name of the type.
    pub expected: &'static str,
}
