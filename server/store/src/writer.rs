//! The writer: one thread for each database, one transaction for all requests that wait.
//!
//! Nothing is delayed on purpose: while one commit waits for the disk the next batch gathers.
//! A request of one operation is checked before it writes, so a failing one leaves the transaction
//! clean; a request of several runs in a nested transaction. When storage itself fails, the batch
//! is abandoned and its requests run one by one, so that each gets its own answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use heed::RwTxn;

use crate::batch::Applier;
use crate::body::Prepared;
use crate::collector::Collector;
use crate::database::Shared;
use crate::error::Error;
use crate::hlc;
use crate::key::Key;
use crate::ledger::Ledger;
use crate::load::Held;
use crate::log::{self, PRUNED_MAX};
use crate::observer::Observing;
use crate::precondition::Precondition;
use crate::record::Meta;
use crate::side::{self, Transaction};
use crate::table::Table;

/// An idle writer looks for log entries to prune this often.
const IDLE: Duration = Duration::from_secs(60);
/// A busy one does after so many commits.
const PRUNE_EVERY_COMMITS: u32 = 64;

/// One change to one record.
#[derive(Debug, Clone)]
pub enum Op {
    /// Stores a whole record, replacing what is there.
    Put {
        /// The table.
        table: Table,
        /// The record's key; it wins over one in the body.
        key: Key,
        /// A body made by [`Prepared::put`].
        body: Prepared,
        /// What must hold of the record that is there.
        when: Precondition,
    },
    /// Stores a new record; [`Error::Exists`] if there is one.
    Insert {
        /// The table.
        table: Table,
        /// The record's key; else the body's; else one is generated: a UUID, or for numeric keys
        /// the integer after the greatest so far.
        key: Option<Key>,
        /// A body made by [`Prepared::put`].
        body: Prepared,
    },
    /// Replaces the members that are given; makes the record when it is missing.
    Patch {
        /// The table.
        table: Table,
        /// The record's key.
        key: Key,
        /// A body made by [`Prepared::patch`].
        body: Prepared,
        /// What must hold of the record that is there.
        when: Precondition,
    },
    /// Removes a record; one that is not there is not an error.
    Delete {
        /// The table.
        table: Table,
        /// The record's key.
        key: Key,
        /// What must hold of the record that is there.
        when: Precondition,
        /// What is told beside it, as in [`Message::extra`]. If there is something to tell, it is
        /// told of a record that is not there, too.
        extra: Bytes,
    },
    /// Appends a message to the table's change log; no record changes.
    Message {
        /// The table.
        table: Table,
        /// Where in the table it belongs; there need not be such a record.
        key: Key,
        /// What subscribers are told.
        message: Message,
    },
    /// Removes a record whose time has passed; one that lives is left.
    Expire {
        /// The table.
        table: Table,
        /// The record's key.
        key: Key,
    },
}

/// A message for the subscribers of a key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// Its bytes.
    pub body: Bytes,
    /// What is told beside them, in an encoding of the writer's own.
    pub extra: Bytes,
    /// When it expires, in milliseconds since 1970; 0: never.
    pub expires_ms: u64,
}

/// What became of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The record's key, generated or given.
    pub key: Key,
    /// What the record now has; for a message or a deletion its own version and sequence, all zero
    /// when there was nothing to delete.
    pub meta: Meta,
    /// Whether there was a record before.
    pub existed: bool,
    /// The version it had.
    pub previous_version: Option<u64>,
}

/// Called with what became of a transaction.
pub(crate) type Done = Box<dyn FnOnce(Result<Vec<Outcome>, Error>) + Send>;

/// One transaction and who waits for it.
pub(crate) struct Request {
    pub(crate) transaction: Transaction,
    pub(crate) done: Done,
    pub(crate) held: Held,
}

impl Op {
    /// Whether all it can do is free space.
    pub(crate) fn deletes(&self) -> bool {
        match self {
            // it is told with what its writer says beside it
            Op::Delete { extra, .. } => extra.is_empty(),
            Op::Expire { .. } => true,
            Op::Put { .. } | Op::Insert { .. } | Op::Patch { .. } | Op::Message { .. } => false,
        }
    }

    pub(crate) fn table(&self) -> &Table {
        match self {
            Op::Put { table, .. }
            | Op::Insert { table, .. }
            | Op::Patch { table, .. }
            | Op::Delete { table, .. }
            | Op::Message { table, .. }
            | Op::Expire { table, .. } => table,
        }
    }
}

type Answer = Result<Vec<Outcome>, Error>;

/// The thread's state.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    requests: Receiver<Request>,
    ledger: Ledger,
    applier: Applier,
    commits_until_prune: u32,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        requests: Receiver<Request>,
        ledger: Ledger,
        observing: Observing,
    ) -> Writer {
        let applier = Applier::new(shared.log, Collector::new(observing, shared.number));
        Writer { shared, requests, ledger, applier, commits_until_prune: 0 }
    }

    /// Serves requests until no one can send any more and none is left.
    pub(crate) fn run(mut self) {
        loop {
            match self.requests.recv_timeout(IDLE) {
                Ok(first) => self.serve(first),
                Err(RecvTimeoutError::Timeout) => self.prune_idle(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn serve(&mut self, first: Request) {
        let requests = self.gather(first);
        let answers = match self.attempt(&requests) {
            Ok(answers) => answers,
            Err(error) if requests.len() == 1 => vec![Err(error)],
            Err(error) => {
                tracing::warn!(%error, "a batch of writes failed and is run one by one");
                requests.iter().map(|request| self.alone(request)).collect()
            }
        };
        self.shared.counters.log_bytes.set(self.ledger.log_bytes);
        for (Request { done, transaction, held }, answer) in requests.into_iter().zip(answers) {
            drop((transaction, held));
            self.count(&answer);
            if catch_unwind(AssertUnwindSafe(move || done(answer))).is_err() {
                tracing::error!("a callback panicked on the writer's thread");
            }
        }
    }

    /// A request and those that wait behind it, as many as one commit takes.
    fn gather(&self, first: Request) -> Vec<Request> {
        let options = self.shared.options.load();
        let mut bytes = first.held.bytes();
        let mut requests = vec![first];
        while requests.len() < options.batch_max && bytes < options.batch_bytes_max {
            let Ok(request) = self.requests.try_recv() else { break };
            bytes = bytes.saturating_add(request.held.bytes());
            requests.push(request);
        }
        requests
    }

    fn count(&self, answer: &Answer) {
        let counters = &self.shared.counters;
        counters.requests.add(1);
        match answer {
            Ok(outcomes) => counters.operations.add(outcomes.len() as u64),
            Err(Error::Failed) => self.shared.fail(),
            Err(Error::PreconditionFailed { .. } | Error::Exists) => counters.conflicts.add(1),
            Err(Error::SideFull { .. }) => counters.rejected_side_full.add(1),
            Err(_) => {}
        }
    }

    fn alone(&mut self, request: &Request) -> Answer {
        let mut answers = self.attempt(std::slice::from_ref(request))?;
        answers.pop().unwrap_or(Err(Error::Stopped))
    }

    /// Runs requests in one transaction. An error is one of storage: nothing was stored.
    fn attempt(&mut self, requests: &[Request]) -> Result<Vec<Answer>, Error> {
        self.guarded(|writer| writer.transaction(requests))
    }

    /// Runs `work`, which opens and commits a transaction; when it fails or panics, that is
    /// abandoned and the ledger is as before.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut Writer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let before = self.ledger.clone();
        let result = catch_unwind(AssertUnwindSafe(|| work(self)));
        let result =
            result.unwrap_or_else(|_| Err(Error::Storage(String::from("the writer panicked"))));
        if result.is_err() {
            self.ledger = before;
        }
        result
    }

    fn transaction(&mut self, requests: &[Request]) -> Result<Vec<Answer>, Error> {
        let shared = self.shared.clone();
        self.applier.collector.begin(requests, shared.options.load().batch_bytes_max);
        let mut txn = shared.write()?;
        let (clock, appended) = (self.ledger.clock(), self.ledger.log_appended);
        let mut answers = Vec::with_capacity(requests.len());
        for Request { transaction, .. } in requests {
            match self.request(&mut txn, transaction) {
                Err(error) if error.is_storage() => return Err(error),
                answer => answers.push(answer),
            }
        }
        if self.ledger.clock() > clock {
            self.prune(&mut txn, self.ledger.log_appended - appended)?;
            self.ledger.save(&mut txn)?;
            let side_bytes = side::bytes(&txn, shared.side)?;
            self.sync(txn)?;
            shared.counters.side_bytes.set(side_bytes);
            self.applier.collector.tell(&self.ledger);
        }
        Ok(answers)
    }

    /// Runs one request. What can be refused is refused before anything is written, or undone.
    fn request(&mut self, txn: &mut RwTxn<'_>, transaction: &Transaction) -> Answer {
        let Transaction { ops, side } = transaction;
        let tree = self.shared.side;
        if !side.is_empty() {
            side::check(txn, tree, side, self.shared.options.load().side_bytes_max)?;
        }
        let outcomes = match ops.as_slice() {
            [] => Vec::new(),
            [op] => vec![self.applier.apply(txn, &mut self.ledger, op)?],
            ops => self.nested(txn, ops)?,
        };
        if side::apply(txn, tree, side)? {
            // What has no version is not committed.
            self.ledger.version();
        }
        Ok(outcomes)
    }

    /// Runs several operations so that all or none of them stay in the transaction.
    fn nested(&mut self, txn: &mut RwTxn<'_>, ops: &[Op]) -> Answer {
        let (before, mark) = (self.ledger.clone(), self.applier.collector.mark());
        let shared = self.shared.clone();
        let mut nested = shared.environment.nested_write_txn(txn)?;
        let outcomes =
            ops.iter().map(|op| self.applier.apply(&mut nested, &mut self.ledger, op)).collect();
        match outcomes {
            Ok(outcomes) => {
                nested.commit()?;
                Ok(outcomes)
            }
            Err(error) => {
                nested.abort();
                self.ledger = before;
                self.applier.collector.rewind(mark);
                Err(error)
            }
        }
    }

    fn sync(&mut self, txn: RwTxn<'_>) -> Result<(), Error> {
        let started = Instant::now();
        let delay = self.shared.options.load().sync_delay;
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        txn.commit()?;
        self.shared.counters.commits.add(1);
        self.shared.counters.commit_nanos.add_time(started.elapsed());
        Ok(())
    }

    /// Prunes a slice of the log when it is due, in the transaction that is open anyway and has
    /// added `appended` entries: more than those may go, so that the log shrinks under any load.
    fn prune(&mut self, txn: &mut RwTxn<'_>, appended: u64) -> Result<(), Error> {
        let options = self.shared.options.load();
        if self.commits_until_prune > 0 && self.ledger.log_bytes <= options.log_bytes_max {
            self.commits_until_prune -= 1;
            return Ok(());
        }
        let appended = usize::try_from(appended).unwrap_or(usize::MAX);
        let entries_max = appended.saturating_mul(2).max(PRUNED_MAX);
        let bounds = log::Bounds {
            entries_max,
            since_ms: hlc::now_ms().saturating_sub(options.log_age_ms_max),
            bytes_max: options.log_bytes_max,
        };
        let pruned = log::prune(txn, self.shared.log, self.ledger.log_bytes, bounds)?;
        self.ledger.log_bytes = self.ledger.log_bytes.saturating_sub(pruned.bytes);
        let all = pruned.entries < entries_max;
        self.commits_until_prune = if all { PRUNE_EVERY_COMMITS } else { 0 };
        Ok(())
    }

    /// Prunes slice after slice until a request comes, no one is left to send any, or nothing is
    /// left to prune.
    fn prune_idle(&mut self) {
        self.commits_until_prune = 0;
        while self.commits_until_prune == 0 {
            match self.requests.try_recv() {
                Ok(request) => return self.serve(request),
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {}
            }
            if let Err(error) = self.guarded(Writer::prune_alone) {
                tracing::warn!(%error, "the change log could not be pruned");
                return;
            }
            self.shared.counters.log_bytes.set(self.ledger.log_bytes);
        }
    }

    fn prune_alone(&mut self) -> Result<(), Error> {
        let shared = self.shared.clone();
        let mut txn = shared.write()?;
        let before = self.ledger.log_bytes;
        self.prune(&mut txn, 0)?;
        if self.ledger.log_bytes == before {
            return Ok(());
        }
        self.ledger.save(&mut txn)?;
        self.sync(txn)
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Sender, bounded};
    use tempfile::TempDir;

    use super::*;
    use crate::catalog::Counter;
    use crate::database::Database;
    use crate::options::Options;
    use crate::schema::{Attribute, Kind, TableSchema};
    use crate::store::Store;
    use crate::table::TableState;

    /// A table whose keys are counted up.
    fn define(database: &Database) -> Table {
        let id = Attribute::new("id", Kind::Int);
        let schema = TableSchema::new("data", "T", vec![id]);
        database.define(schema).unwrap()
    }

    fn open(root: &TempDir, options: &Options) -> Arc<Database> {
        let options =
            Options { map_bytes: 16 << 20, tables_max: 8, free_bytes_min: 0, ..options.clone() };
        let store = Store::open(root.path(), &root.path().join("database"), options).unwrap();
        store.database("data").unwrap()
    }

    /// Another writer of the database, to be used while its own has nothing to do.
    fn idle(database: &Database) -> (Sender<Request>, Writer) {
        let shared = database.shared.clone();
        let txn = shared.environment.write_txn().unwrap();
        let ledger = Ledger::load(&txn, shared.meta).unwrap();
        drop(txn);
        let (sender, receiver) = bounded(1);
        (sender, Writer::new(shared, receiver, ledger, Observing::default()))
    }

    fn insert(table: &Table) -> Op {
        let body = Prepared::put(&table.schema(), b"{}").unwrap();
        Op::Insert { table: table.clone(), key: None, body }
    }

    #[test]
    fn a_panic_fails_one_request_and_leaves_no_trace() {
        let root = tempfile::tempdir().unwrap();
        let database = open(&root, &Options::default());
        let table = define(&database);
        let good = table.state();
        let first = database.commit(vec![insert(&table)]).unwrap();
        // `define` refuses such a schema; here it makes the writer index out of bounds.
        let broken = TableState {
            schema: Arc::new(TableSchema { primary_key: 1, ..(*good.schema).clone() }),
            ..TableState::new((*good.schema).clone(), Vec::new(), None)
        };
        let failing = insert(&table);
        table.set_state(broken);
        let error = database.commit(vec![failing]).unwrap_err();
        assert!(matches!(&error, Error::Storage(what) if what.contains("panicked")), "{error}");
        table.set_state(TableState::new((*good.schema).clone(), Vec::new(), None));
        let second = database.commit(vec![insert(&table)]).unwrap();
        assert_eq!(second[0].meta.sequence, first[0].meta.sequence + 1);
        assert!(!database.is_failed());
    }

    #[test]
    fn a_writer_no_one_can_reach_does_not_prune_any_more() {
        let root = tempfile::tempdir().unwrap();
        let database = open(&root, &Options { log_age_ms_max: 0, ..Options::default() });
        let table = define(&database);
        for _ in 0..3 {
            database.commit(vec![insert(&table)]).unwrap();
        }
        thread::sleep(Duration::from_millis(2));
        let shared = &database.shared;
        let entries = || shared.log.len(&shared.environment.read_txn().unwrap()).unwrap();
        let (sender, mut writer) = idle(&database);
        let before = entries();
        assert!(before > 0);
        drop(sender);
        writer.prune_idle();
        assert_eq!(entries(), before);
        let (_sender, mut writer) = idle(&database);
        writer.prune_idle();
        assert_eq!(entries(), 0);
    }

    #[test]
    fn a_damaged_log_entry_fails_no_write() {
        let root = tempfile::tempdir().unwrap();
        let database = open(&root, &Options { log_bytes_max: 0, ..Options::default() });
        let table = define(&database);
        let shared = &database.shared;
        for place in [[[0; 4].as_slice(), &[1; 8]].concat(), vec![0xff]] {
            let mut txn = shared.environment.write_txn().unwrap();
            shared.log.put(&mut txn, &place, b"?").unwrap();
            txn.commit().unwrap();
        }
        database.commit(vec![insert(&table)]).unwrap();
        let txn = shared.environment.read_txn().unwrap();
        assert_eq!(shared.log.len(&txn).unwrap(), 1, "only what has no place is left");
    }

    #[test]
    fn a_clock_that_was_ahead_is_not_written_into_records() {
        let root = tempfile::tempdir().unwrap();
        let ahead = hlc::next(0, hlc::now_ms() + 3_600_000);
        {
            let database = open(&root, &Options::default());
            let shared = &database.shared;
            let mut txn = shared.environment.write_txn().unwrap();
            Counter::Clock.put(&mut txn, shared.meta, ahead).unwrap();
            txn.commit().unwrap();
        }
        let database = open(&root, &Options::default());
        let meta = database.commit(vec![insert(&define(&database))]).unwrap()[0].meta;
        assert_eq!(meta.version, ahead + 1);
        assert!(meta.updated_ms <= hlc::now_ms());
    }

    #[test]
    fn a_database_that_failed_says_so() {
        let root = tempfile::tempdir().unwrap();
        let database = open(&root, &Options::default());
        let table = define(&database);
        assert!(!database.is_failed());
        let (_sender, writer) = idle(&database);
        writer.count(&Err(Error::from(heed::Error::Mdb(heed::MdbError::Panic))));
        assert!(database.is_failed());
        assert!(matches!(database.read(), Err(Error::Failed)));
        assert!(matches!(database.commit(vec![insert(&table)]), Err(Error::Failed)));
    }
}
