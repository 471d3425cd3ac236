//! The set of workers: how many there should be, and starting, retiring and bringing back single ones while requests
//! go on.
//!
//! A listening socket is never closed before the process stops, since that would reset the connections that the kernel
//! has queued on it. The set holds every socket; a worker is told which to accept on. Each of the workers has one of its
//! own, and the sockets of those that were retired are accepted on by all.

use crate::listen::{Endpoint, Listener};
use crate::metrics::{WorkerMetrics, gauge};
use crate::worker::{self, Common, Duty, Seed};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use tokio::sync::watch;

/// The workers of the process.
pub(crate) struct Workers {
    common: Common,
    endpoints: Vec<Endpoint>,
    slots: Vec<Slot>,
    wanted: usize,
    counts: Counts,
}

/// The place of one worker: it keeps its number and its counters when the worker is retired and when it comes back.
struct Slot {
    metrics: Arc<WorkerMetrics>,
    duty: watch::Sender<Duty>,
    thread: JoinHandle<()>,
}

impl Slot {
    fn is_serving(&self) -> bool {
        matches!(*self.duty.borrow(), Duty::Serve(_))
    }
}

impl Workers {
    /// Starts `count` workers that accept on sockets of every endpoint.
    ///
    /// # Errors
    /// The system's refusal of a socket or a thread.
    pub(crate) fn start(
        common: Common,
        mut endpoints: Vec<Endpoint>,
        count: usize,
    ) -> io::Result<Self> {
        for endpoint in &mut endpoints {
            endpoint.grow(count)?;
        }
        let counts = Counts::default();
        let mut workers = Self { common, endpoints, slots: Vec::new(), wanted: count, counts };
        for id in 0..count {
            let slot = workers.slot(id)?;
            workers.slots.push(slot);
        }
        workers.count();
        Ok(workers)
    }

    /// How many workers there are and should be, followed by the clone.
    #[must_use]
    pub(crate) fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// Sees to it that `wanted` workers serve: call it now and then, for it also starts workers anew that have ended and
    /// counts those that have finished. Returns whether the number changed.
    pub(crate) fn keep(&mut self, wanted: usize) -> bool {
        let is_new = std::mem::replace(&mut self.wanted, wanted) != wanted;
        if is_new {
            self.grow_endpoints();
        }
        for id in 0..wanted.max(self.slots.len()) {
            self.keep_one(id, is_new);
        }
        self.count();
        is_new
    }

    /// Tells every worker to accept what is queued and to finish its connections, and lets go of the sockets.
    pub(crate) fn drain(&mut self) {
        self.tell(&Duty::Drain);
        self.endpoints.clear();
    }

    /// Turns new connections away, where the system can, while those that are being made are still accepted.
    pub(crate) fn turn_away(&self) {
        self.endpoints.iter().for_each(Endpoint::turn_away);
    }

    /// Tells every worker to give up on what is not finished.
    pub(crate) fn end(&self) {
        self.tell(&Duty::End);
    }

    /// Whether every worker has ended.
    #[must_use]
    pub(crate) fn have_ended(&self) -> bool {
        self.slots.iter().all(|slot| slot.thread.is_finished())
    }

    fn tell(&self, duty: &Duty) {
        for slot in &self.slots {
            slot.duty.send_replace(duty.clone());
        }
    }

    /// A new worker has a socket of its own of every endpoint, unless the system refuses: it then shares another's.
    fn grow_endpoints(&mut self) {
        for endpoint in &mut self.endpoints {
            if let Err(error) = endpoint.grow(self.wanted) {
                tracing::warn!(%error, "a further listening socket was refused");
            }
        }
    }

    fn keep_one(&mut self, id: usize, is_new: bool) {
        let is_wanted = id < self.wanted;
        let Some(slot) = self.slots.get(id) else {
            match self.slot(id) {
                Ok(slot) => self.slots.push(slot),
                Err(error) => tracing::error!(%error, "a worker could not be started"),
            }
            return;
        };
        if !is_wanted {
            if slot.is_serving() {
                slot.duty.send_replace(Duty::Retire);
            }
            if slot.thread.is_finished() {
                // even if a fault ended it: nobody waits for its heartbeat
                self.common.health.ended(&slot.metrics);
            }
        } else if slot.thread.is_finished() {
            self.start_again(id);
        } else if is_new {
            slot.duty.send_replace(Duty::Serve(self.share(id)));
        }
    }

    /// A retired worker has ended and is wanted again, or one has ended that should not have.
    fn start_again(&mut self, id: usize) {
        let duty = Duty::Serve(self.share(id));
        let Some(slot) = self.slots.get_mut(id) else { return };
        if slot.is_serving() {
            tracing::error!(worker = id, "a worker has ended and is started again");
        }
        slot.duty.send_replace(duty);
        let seed = Seed { id, metrics: Arc::clone(&slot.metrics), duty: slot.duty.subscribe() };
        match worker::start(self.common.clone(), seed) {
            Ok(thread) => slot.thread = thread,
            Err(error) => tracing::error!(%error, "a worker could not be started"),
        }
    }

    fn slot(&self, id: usize) -> io::Result<Slot> {
        let metrics = self.common.metrics.worker();
        let (duty, _) = watch::channel(Duty::Serve(self.share(id)));
        let seed = Seed { id, metrics: Arc::clone(&metrics), duty: duty.subscribe() };
        let thread = worker::start(self.common.clone(), seed)?;
        Ok(Slot { metrics, duty, thread })
    }

    /// The sockets that the worker `id` accepts on.
    fn share(&self, id: usize) -> Arc<[Listener]> {
        self.endpoints.iter().flat_map(|endpoint| endpoint.share(id, self.wanted)).collect()
    }

    fn count(&self) {
        let running = self.slots.iter().filter(|slot| !slot.thread.is_finished());
        let (serving, retiring): (Vec<_>, Vec<_>) = running.partition(|slot| slot.is_serving());
        self.counts.0.wanted.store(self.wanted, Relaxed);
        self.counts.0.running.store(serving.len(), Relaxed);
        self.counts.0.retiring.store(retiring.len(), Relaxed);
    }
}

/// How many workers there are and should be; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Counts(Arc<CountsInner>);

#[derive(Default)]
struct CountsInner {
    wanted: AtomicUsize,
    running: AtomicUsize,
    retiring: AtomicUsize,
}

impl Collector for Counts {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Self(counts) = self;
        vec![
            gauge(
                "harper_workers_wanted",
                "Workers that there should be by the configuration and the CPUs of the pod.",
                counts.wanted.load(Relaxed) as f64,
            ),
            gauge(
                "harper_workers_running",
                "Workers that accept connections.",
                counts.running.load(Relaxed) as f64,
            ),
            gauge(
                "harper_workers_retiring",
                "Workers that accept no more and finish their connections.",
                counts.retiring.load(Relaxed) as f64,
            ),
        ]
    }
}
