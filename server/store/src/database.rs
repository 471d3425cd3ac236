//! One database: its environment, its tables and its writer.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;
use crossbeam_channel::{Sender, TrySendError, bounded};
use heed::RwTxn;

use crate::catalog::{self, Entry, db_name};
use crate::computed::Evaluator;
use crate::define;
use crate::env::{self, Environment, Handle, Lent, Reading};
use crate::error::Error;
use crate::ledger::Ledger;
use crate::load::{self, Load};
use crate::migrate;
use crate::options::CurrentOptions;
use crate::readers::Readers;
use crate::side::{self, SideOp, Transaction};
use crate::space::Space;
use crate::stats::{Counters, DatabaseStats};
use crate::store::{Hooks, RootLock};
use crate::table::Table;
use crate::writer::{Done, Op, Outcome, Request, Writer};

/// Databases opened by this process.
static OPENED: AtomicU32 = AtomicU32::new(0);

/// An open database. Dropping the last handle waits for the writes that were submitted.
pub struct Database {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tables: ArcSwap<BTreeMap<String, Table>>,
    /// Held while a table is defined.
    pub(crate) defining: Mutex<()>,
    requests: Option<Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

/// What tables, queries and the writer need of their database.
pub(crate) struct Shared {
    pub(crate) name: String,
    /// Among the databases that this process has opened.
    pub(crate) number: u32,
    epoch: u64,
    pub(crate) environment: Environment,
    pub(crate) readers: Readers,
    pub(crate) meta: Handle,
    pub(crate) log: Handle,
    pub(crate) side: Handle,
    pub(crate) options: CurrentOptions,
    pub(crate) evaluator: Evaluator,
    pub(crate) counters: Counters,
    load: Load,
    failed: AtomicBool,
    space: Arc<Space>,
    _lock: Arc<RootLock>,
}

/// A read transaction: the database as it was when this was opened, for as long as it is held.
/// Held long, it keeps the writer from using freed pages again and the file grows.
pub struct ReadTxn<'d> {
    inner: Lent<'d>,
    shared: &'d Shared,
    _database: PhantomData<&'d Database>,
}

impl Database {
    pub(crate) fn open(
        name: &str,
        directory: &Path,
        options: CurrentOptions,
        hooks: Hooks,
        space: Arc<Space>,
        lock: Arc<RootLock>,
    ) -> Result<Database, Error> {
        let environment = env::open(directory, &options.load())?;
        let own = [db_name::META, db_name::LOG, db_name::SIDE].map(str::to_owned);
        let (handles, (meta, log, side, epoch, entries, ledger)) =
            env::create(environment, &own, |txn, handles| {
                let [meta, log, side] = handles else { return Err(Error::TablesFull) };
                migrate::run(txn, *meta)?;
                let epoch = catalog::epoch(txn, *meta)?;
                let entries = catalog::entries(txn, *meta)?;
                Ok((*meta, *log, *side, epoch, entries, Ledger::load(txn, *meta)?))
            })?;
        drop(handles);
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            number: OPENED.fetch_add(1, Ordering::Relaxed),
            epoch,
            environment,
            readers: Readers::new(environment),
            meta,
            log,
            side,
            options,
            evaluator: hooks.evaluator,
            counters: Counters::default(),
            load: Load::default(),
            failed: AtomicBool::new(false),
            space,
            _lock: lock,
        });
        shared.counters.log_bytes.set(ledger.log_bytes);
        let txn: Reading = environment.read_txn()?;
        shared.counters.side_bytes.set(side::bytes(&txn, side)?);
        drop(txn);
        let tables = open_tables(&shared, entries)?;
        let (requests, receiver) = bounded(shared.options.load().queue_max);
        let writer = Writer::new(shared.clone(), receiver, ledger, hooks.observing);
        let writer = thread::Builder::new()
            .name(format!("writer {name}"))
            .spawn(move || writer.run())
            .map_err(|source| Error::file("starting the writer of", directory, source))?;
        Ok(Database {
            shared,
            tables: ArcSwap::from_pointee(tables),
            defining: Mutex::new(()),
            requests: Some(requests),
            writer: Some(writer),
        })
    }

    /// Name of the database.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// A number made at random when the database was created: with another one, sequence numbers
    /// mean something else.
    pub fn epoch(&self) -> u64 {
        self.shared.epoch
    }

    /// The table of this name, if it was ever defined.
    pub fn table(&self, name: &str) -> Option<Table> {
        self.tables.load().get(name).cloned()
    }

    /// All tables, by name.
    pub fn tables(&self) -> Vec<Table> {
        self.tables.load().values().cloned().collect()
    }

    /// Opens a read transaction.
    ///
    /// # Errors
    /// [`Error::Busy`] when [`Options::readers_max`] are open, [`Error::Failed`] when
    /// [`Database::is_failed`], [`Error::Storage`].
    pub fn read(&self) -> Result<ReadTxn<'_>, Error> {
        self.check_failed()?;
        self.shared.read()
    }

    /// [`Database::read`] for a subscriber that has just registered: the observer is told of every
    /// commit that this transaction does not hold.
    ///
    /// # Errors
    /// As [`Database::read`].
    pub fn read_registered(&self) -> Result<ReadTxn<'_>, Error> {
        // The registration is seen before what is committed now is looked at; the writer has the
        // same between its commit and its question.
        fence(Ordering::SeqCst);
        self.read()
    }

    /// Whether the database can be used no more until the process has restarted: LMDB refuses all
    /// transactions, as after an error on its meta page, or the writer has ended.
    pub fn is_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
            || self.writer.as_ref().is_some_and(JoinHandle::is_finished)
    }

    fn check_failed(&self) -> Result<(), Error> {
        if self.is_failed() { Err(Error::Failed) } else { Ok(()) }
    }

    /// Hands one atomic transaction to the writer. `done` runs on the writer's thread once the
    /// commit is durable or the transaction has failed, so it must be quick; it does not run when
    /// this returns an error. One failing operation fails them all.
    ///
    /// # Errors
    /// [`Error::Busy`] when the queue is full, by number or by bytes; unless all operations delete,
    /// [`Error::NoSpace`] below the watermark and [`Error::MapFull`] when hardly any room is left; [`Error::WrongDatabase`], [`Error::Failed`],
    /// [`Error::Stopped`].
    pub fn submit(&self, ops: Vec<Op>, done: Done) -> Result<(), Error> {
        self.submit_transaction(ops.into(), done)
    }

    /// [`Database::submit`] with changes beside the tables in the same commit.
    ///
    /// # Errors
    /// Those of [`Database::submit`]; for the trees [`Error::SideFull`], [`Error::Exists`],
    /// [`Error::Invalid`].
    pub fn submit_transaction(&self, transaction: Transaction, done: Done) -> Result<(), Error> {
        let Transaction { ops, side } = &transaction;
        self.check_failed()?;
        let Shared { counters, load, options, .. } = &*self.shared;
        for op in ops {
            if !Arc::ptr_eq(op.table().shared(), &self.shared) {
                return Err(Error::WrongDatabase { table: op.table().name().to_owned() });
            }
        }
        let frees = ops.iter().all(Op::deletes) && side.iter().all(SideOp::deletes);
        let bytes = load::bytes(&transaction);
        if !frees {
            let room = || self.check_room(load.bytes().saturating_add(bytes));
            let checked = self.shared.space.check().and_then(|()| room());
            checked.inspect_err(|_| counters.rejected_no_space.add(1))?;
        }
        let requests = self.requests.as_ref().ok_or(Error::Stopped)?;
        let full = || {
            counters.rejected_full.add(1);
            Error::Busy
        };
        let held = load.hold(bytes, options.load().queue_bytes_max).ok_or_else(full)?;
        requests.try_send(Request { transaction, done, held }).map_err(|refused| match refused {
            TrySendError::Full(_) => full(),
            TrySendError::Disconnected(_) => Error::Stopped,
        })
    }

    /// [`Database::submit`], waiting for the outcome.
    ///
    /// # Errors
    /// Those of [`Database::submit`], and why the transaction failed.
    pub fn commit(&self, ops: Vec<Op>) -> Result<Vec<Outcome>, Error> {
        self.commit_transaction(ops.into())
    }

    /// [`Database::submit_transaction`], waiting for the outcome.
    ///
    /// # Errors
    /// Those of [`Database::submit_transaction`], and why the transaction failed.
    pub fn commit_transaction(&self, transaction: Transaction) -> Result<Vec<Outcome>, Error> {
        let (answer, outcome) = bounded(1);
        let done = move |result| {
            // The receiver waits below until there is an answer.
            let _ = answer.send(result);
        };
        self.submit_transaction(transaction, Box::new(done))?;
        outcome.recv().map_err(|_| Error::Stopped)?
    }

    pub(crate) fn stats(&self) -> DatabaseStats {
        let Shared { name, environment, counters, options, .. } = &*self.shared;
        let info = environment.info();
        let page_bytes = u64::from(environment.unnamed_database_stat().page_size);
        DatabaseStats {
            name: name.clone(),
            tables: self.tables.load().len(),
            map_bytes_used: (info.last_page_number as u64 + 1) * page_bytes,
            map_bytes_max: options.load().map_bytes as u64,
            disk_bytes: environment.real_disk_size().unwrap_or(0),
            commits: counters.commits.get(),
            commit_seconds: counters.commit_nanos.get() as f64 / 1e9,
            requests: counters.requests.get(),
            operations: counters.operations.get(),
            conflicts: counters.conflicts.get(),
            queue_length: self.requests.as_ref().map_or(0, Sender::len),
            expired: counters.expired.get(),
            rejected_full: counters.rejected_full.get(),
            rejected_no_space: counters.rejected_no_space.get(),
            rejected_side_full: counters.rejected_side_full.get(),
            log_bytes: counters.log_bytes.get(),
            side_bytes: counters.side_bytes.get(),
            readers_peak: info.number_of_readers,
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(writer) = self.writer.take()
            && writer.thread().id() != thread::current().id()
            && writer.join().is_err()
        {
            tracing::error!(database = self.shared.name, "the writer panicked");
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({})", self.shared.name)
    }
}

impl Shared {
    /// Notes that LMDB has given up the environment.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Result<ReadTxn<'_>, Error> {
        let inner = Lent::new(&self.readers).map_err(Error::from).inspect_err(|error| {
            if matches!(error, Error::Failed) {
                self.fail();
            }
        })?;
        Ok(ReadTxn { inner, shared: self, _database: PhantomData })
    }

    /// Begins a write transaction, of which there is one at a time. Readers that wait with an older state are ended, so
    /// that their pages can be used again.
    pub(crate) fn write(&self) -> Result<RwTxn<'static>, Error> {
        let txn = self.environment.write_txn()?;
        self.readers.end_stale();
        Ok(txn)
    }
}

impl ReadTxn<'_> {
    pub(crate) fn inner(&self) -> &Reading {
        self.inner.reading()
    }

    pub(crate) fn shared(&self) -> &Shared {
        self.shared
    }
}

/// Opens the named databases of every table in the catalog.
fn open_tables(
    shared: &Arc<Shared>,
    entries: Vec<Entry>,
) -> Result<BTreeMap<String, Table>, Error> {
    let names: Vec<String> = entries.iter().flat_map(define::names).collect();
    let (handles, ()) = env::create(shared.environment, &names, |_, _| Ok(()))?;
    let mut handles = handles.into_iter();
    let mut tables = BTreeMap::new();
    for entry in entries {
        let table = define::assemble(shared, entry, &mut handles)?;
        tables.insert(table.name().to_owned(), table);
    }
    Ok(tables)
}
