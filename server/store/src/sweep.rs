//! Removing expired records: one thread for each store, which looks at the expiry trees now and
//! then and hands the writers what is due, in slices. It writes nothing itself.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

use crate::database::Database;
use crate::error::Error;
use crate::expiry;
use crate::hlc;
use crate::options::CurrentOptions;
use crate::table::Table;
use crate::writer::Op;

/// Records that one transaction removes.
const SLICE_RECORDS: usize = 256;
/// Transactions for one table before another table's turn comes.
const TURN_SLICES: usize = 64;
/// Never is looked more often than this.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// The interval is read again so often, since it may have become shorter.
const INTERVAL_READ_EVERY: Duration = Duration::from_millis(250);

/// The databases of a store, by name.
pub(crate) type Databases = Arc<Mutex<BTreeMap<String, Arc<Database>>>>;

/// The thread; dropping this waits for it.
pub(crate) struct Sweeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Sweep {
    databases: Databases,
    options: CurrentOptions,
    stop: Receiver<()>,
    /// When each table was last looked at, by database and name.
    looked: BTreeMap<(String, String), Instant>,
}

impl Sweeper {
    /// Starts to look every [`Options::sweep_interval`](crate::Options); a table may ask to be looked at less often.
    pub(crate) fn start(databases: Databases, options: CurrentOptions) -> io::Result<Sweeper> {
        let (sender, stop) = bounded(0);
        let sweep = Sweep { databases, options, stop, looked: BTreeMap::new() };
        let thread =
            thread::Builder::new().name(String::from("sweeper")).spawn(move || sweep.run())?;
        Ok(Sweeper { stop: Some(sender), thread: Some(thread) })
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the sweeper of expired records panicked");
        }
    }
}

impl Sweep {
    fn run(mut self) {
        let mut looked = Instant::now();
        let pause = |sweep: &Self| sweep.interval().min(INTERVAL_READ_EVERY);
        while self.stop.recv_timeout(pause(&self)) == Err(RecvTimeoutError::Timeout) {
            if looked.elapsed() < self.interval() {
                continue;
            }
            looked = Instant::now();
            let databases: Vec<_> = {
                let databases = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
                databases.values().cloned().collect()
            };
            for database in databases {
                self.database(&database);
            }
        }
    }

    fn interval(&self) -> Duration {
        self.options.load().sweep_interval.max(INTERVAL_MIN)
    }

    fn database(&mut self, database: &Database) {
        for table in database.tables() {
            if !self.is_due(database, &table) {
                continue;
            }
            match self.table(database, &table) {
                // a full queue is emptied first
                Ok(()) | Err(Error::Busy) => {}
                Err(error) => {
                    let (database, table) = (database.name(), table.name());
                    tracing::warn!(%error, database, table, "expired records were not removed");
                }
            }
        }
    }

    /// Whether the table has records that expire, and has not been looked at for long enough.
    fn is_due(&mut self, database: &Database, table: &Table) -> bool {
        let state = table.state();
        if state.expiry.is_none() {
            return false;
        }
        let own = state.schema.expiry.as_ref().and_then(|expiry| expiry.sweep_ms);
        let wait = own.map_or(Duration::ZERO, Duration::from_millis);
        let name = (database.name().to_owned(), table.name().to_owned());
        let is_due = self.looked.get(&name).is_none_or(|looked| looked.elapsed() >= wait);
        if is_due {
            self.looked.insert(name, Instant::now());
        }
        is_due
    }

    fn table(&self, database: &Database, table: &Table) -> Result<(), Error> {
        let state = table.state();
        let Some(tree) = state.expiry else { return Ok(()) };
        let kept_ms = state.schema.expiry.as_ref().map_or(0, |expiry| expiry.kept_ms);
        for _ in 0..TURN_SLICES {
            let until_ms = hlc::now_ms().saturating_sub(kept_ms);
            let keys = {
                let txn = database.read()?;
                expiry::due(tree, txn.inner(), until_ms, SLICE_RECORDS)?
            };
            let is_last = keys.len() < SLICE_RECORDS;
            if keys.is_empty() {
                break;
            }
            let expire = |key| Op::Expire { table: table.clone(), key };
            let outcomes = database.commit(keys.into_iter().map(expire).collect())?;
            let removed = outcomes.iter().filter(|outcome| outcome.existed).count();
            database.shared.counters.expired.add(removed as u64);
            if is_last || removed == 0 || self.stop.try_recv() != Err(TryRecvError::Empty) {
                break;
            }
        }
        Ok(())
    }
}
