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

use crossbeam_channel::{Receiver, RecvTimeoutError};
use heed::RwTxn;

use crate::batch::Applier;
use crate::body::Prepared;
use crate::database::Shared;
use crate::error::Error;
use crate::hlc;
use crate::key::Key;
use crate::ledger::Ledger;
use crate::log::{self, PRUNED_MAX};
use crate::record::Meta;
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
    },
}

/// What must hold of a record for an operation on it; tested inside the write transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// There is no record.
    Absent,
    /// There is a record.
    Present,
    /// There is a record and its version is one of these.
    VersionIn(Vec<u64>),
    /// There is no record, or its version is none of these.
    VersionNotIn(Vec<u64>),
}

/// What became of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The record's key, generated or given.
    pub key: Key,
    /// What the record now has; for a deletion its own version and sequence, all zero when there
    /// was nothing to delete.
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
    pub(crate) ops: Vec<Op>,
    pub(crate) done: Done,
}

impl Op {
    pub(crate) fn table(&self) -> &Table {
        match self {
            Op::Put { table, .. }
            | Op::Insert { table, .. }
            | Op::Patch { table, .. }
            | Op::Delete { table, .. } => table,
        }
    }
}

impl Precondition {
    /// Tests the version of the record that is there.
    pub(crate) fn check(&self, current: Option<u64>) -> Result<(), Error> {
        let holds = match (self, current) {
            (Precondition::None, _) => true,
            (Precondition::Absent, current) => current.is_none(),
            (Precondition::Present, current) => current.is_some(),
            (Precondition::VersionIn(versions), Some(current)) => versions.contains(&current),
            (Precondition::VersionIn(_), None) => false,
            (Precondition::VersionNotIn(versions), Some(current)) => !versions.contains(&current),
            (Precondition::VersionNotIn(_), None) => true,
        };
        if holds { Ok(()) } else { Err(Error::PreconditionFailed { current }) }
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
    pub(crate) fn new(shared: Arc<Shared>, requests: Receiver<Request>, ledger: Ledger) -> Writer {
        let applier = Applier::new(shared.log);
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
        let more = self.shared.options.batch_max.saturating_sub(1);
        let mut requests = vec![first];
        requests.extend(self.requests.try_iter().take(more));
        let answers = match self.attempt(&requests) {
            Ok(answers) => answers,
            Err(error) if requests.len() == 1 => vec![Err(error)],
            Err(error) => {
                tracing::warn!(%error, "a batch of writes failed and is run one by one");
                requests.iter().map(|request| self.alone(request)).collect()
            }
        };
        self.shared.counters.log_bytes.set(self.ledger.log_bytes);
        for (Request { done, .. }, answer) in requests.into_iter().zip(answers) {
            self.count(&answer);
            if catch_unwind(AssertUnwindSafe(move || done(answer))).is_err() {
                tracing::error!("a callback panicked on the writer's thread");
            }
        }
    }

    fn count(&self, answer: &Answer) {
        let counters = &self.shared.counters;
        counters.requests.add(1);
        match answer {
            Ok(outcomes) => counters.operations.add(outcomes.len() as u64),
            Err(Error::PreconditionFailed { .. } | Error::Exists) => counters.conflicts.add(1),
            Err(_) => {}
        }
    }

    fn alone(&mut self, request: &Request) -> Answer {
        let mut answers = self.attempt(std::slice::from_ref(request))?;
        answers.pop().unwrap_or(Err(Error::Stopped))
    }

    /// Runs requests in one transaction. An error is one of storage: nothing was stored.
    fn attempt(&mut self, requests: &[Request]) -> Result<Vec<Answer>, Error> {
        let before = self.ledger.clone();
        let answers = self.transaction(requests);
        if answers.is_err() {
            self.ledger = before;
        }
        answers
    }

    fn transaction(&mut self, requests: &[Request]) -> Result<Vec<Answer>, Error> {
        let shared = self.shared.clone();
        let mut txn = shared.environment.write_txn()?;
        let mut answers = Vec::with_capacity(requests.len());
        for Request { ops, .. } in requests {
            let answer = match ops.as_slice() {
                [op] => self.applier.apply(&mut txn, &mut self.ledger, op).map(|o| vec![o]),
                ops => self.nested(&mut txn, ops),
            };
            match answer {
                Err(error) if error.is_storage() => return Err(error),
                answer => answers.push(answer),
            }
        }
        if answers.iter().any(Result::is_ok) {
            self.prune(&mut txn)?;
            self.ledger.save(&mut txn)?;
            self.sync(txn)?;
        }
        Ok(answers)
    }

    /// Runs several operations so that all or none of them stay in the transaction.
    fn nested(&mut self, txn: &mut RwTxn<'_>, ops: &[Op]) -> Answer {
        let before = self.ledger.clone();
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
                Err(error)
            }
        }
    }

    fn sync(&mut self, txn: RwTxn<'_>) -> Result<(), Error> {
        let started = Instant::now();
        let delay = self.shared.options.sync_delay;
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        txn.commit()?;
        self.shared.counters.commits.add(1);
        self.shared.counters.commit_nanos.add_time(started.elapsed());
        Ok(())
    }

    /// Prunes a slice of the log when it is due, in the transaction that is open anyway.
    fn prune(&mut self, txn: &mut RwTxn<'_>) -> Result<(), Error> {
        let options = &self.shared.options;
        if self.commits_until_prune > 0 && self.ledger.log_bytes <= options.log_bytes_max {
            self.commits_until_prune -= 1;
            return Ok(());
        }
        let bounds = log::Bounds {
            since_ms: hlc::now_ms().saturating_sub(options.log_age_ms_max),
            bytes_max: options.log_bytes_max,
        };
        let pruned = log::prune(txn, self.shared.log, self.ledger.log_bytes, bounds)?;
        self.ledger.log_bytes = self.ledger.log_bytes.saturating_sub(pruned.bytes);
        let all = pruned.entries < PRUNED_MAX;
        self.commits_until_prune = if all { PRUNE_EVERY_COMMITS } else { 0 };
        Ok(())
    }

    /// Prunes slice after slice until a request comes or nothing is left to prune.
    fn prune_idle(&mut self) {
        self.commits_until_prune = 0;
        while self.requests.is_empty() && self.commits_until_prune == 0 {
            let before = self.ledger.clone();
            if let Err(error) = self.prune_alone() {
                self.ledger = before;
                tracing::warn!(%error, "the change log could not be pruned");
                return;
            }
            self.shared.counters.log_bytes.set(self.ledger.log_bytes);
        }
    }

    fn prune_alone(&mut self) -> Result<(), Error> {
        let shared = self.shared.clone();
        let mut txn = shared.environment.write_txn()?;
        let before = self.ledger.log_bytes;
        self.prune(&mut txn)?;
        if self.ledger.log_bytes == before {
            return Ok(());
        }
        self.ledger.save(&mut txn)?;
        self.sync(txn)
    }
}
