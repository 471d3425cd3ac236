//! What the probes report: whether the process has started, whether it should get requests, whether it lives.

use crate::metrics::{Metrics, WorkerMetrics};
use crate::reload::Reloads;
use harper_config::Config;
use harper_store::Store;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::watch;

/// The heartbeat of a worker that has ended as it should.
const ENDED: u64 = u64::MAX;

/// The state of the process as seen from outside.
pub(crate) struct Health {
    begun: Instant,
    config: watch::Receiver<Arc<Config>>,
    reloads: Vec<(&'static str, Reloads)>,
    listeners_wanted: usize,
    listening: AtomicUsize,
    stopping: AtomicBool,
    metrics: Metrics,
    store: Store,
    components: Vec<String>,
}

/// One line of a verbose report.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// What was looked at.
    pub name: String,
    /// What is wrong with it; none when all is well.
    pub fault: Option<String>,
    /// What is not as wished, though requests are served as before.
    pub remark: Option<String>,
}

impl Check {
    fn new(name: impl Into<String>, is_good: bool, fault: &str) -> Self {
        let fault = (!is_good).then(|| fault.to_owned());
        Self { name: name.into(), fault, remark: None }
    }
}

impl Health {
    /// A process that has not started yet.
    #[must_use]
    pub(crate) fn new(
        config: watch::Receiver<Arc<Config>>,
        reloads: Vec<(&'static str, Reloads)>,
        listeners_wanted: usize,
        metrics: Metrics,
        store: Store,
        components: Vec<String>,
    ) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            config,
            reloads,
            listeners_wanted,
            listening: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            metrics,
            store,
            components,
        })
    }

    /// A worker lives.
    pub(crate) fn beat(&self, worker: &WorkerMetrics) {
        worker.heartbeat_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// A worker has ended as it should.
    pub(crate) fn ended(&self, worker: &WorkerMetrics) {
        worker.heartbeat_ms.store(ENDED, Ordering::Relaxed);
    }

    /// One more socket accepts connections.
    pub(crate) fn listening(&self) {
        self.listening.fetch_add(1, Ordering::Relaxed);
    }

    /// The process is about to stop: it wants no more requests.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// `/startupz`: every socket accepts connections.
    #[must_use]
    pub(crate) fn startup(&self) -> Vec<Check> {
        let listening = self.listening.load(Ordering::Relaxed);
        let fault = format!("{listening} of {} sockets accept connections", self.listeners_wanted);
        vec![Check::new("listener http", listening >= self.listeners_wanted, &fault)]
    }

    /// `/livez`: every worker has answered of late.
    #[must_use]
    pub(crate) fn live(&self) -> Vec<Check> {
        let now = self.now_ms();
        let stuck_after = self.config.borrow().admin.stuck_after;
        let silence_max = u64::try_from(stuck_after.as_millis()).unwrap_or(u64::MAX);
        let workers = self.metrics.workers();
        let checks = workers.iter().enumerate().filter_map(|(number, worker)| {
            let heartbeat = worker.heartbeat_ms.load(Ordering::Relaxed);
            let silence = now.saturating_sub(heartbeat);
            let fault = format!("silent for {silence} ms");
            let check = Check::new(format!("worker {number}"), silence <= silence_max, &fault);
            (heartbeat != ENDED).then_some(check)
        });
        checks.collect()
    }

    /// `/readyz`: started, not stopping, and the store answers.
    #[must_use]
    pub(crate) fn ready(&self) -> Vec<Check> {
        let mut checks = self.startup();
        let stopping = self.stopping.load(Ordering::Relaxed);
        checks.push(Check::new("shutdown", !stopping, "the process is stopping"));
        for database in self.store.databases() {
            let fault = database.read().err().map(|error| error.to_string());
            let name = format!("store {}", database.name());
            checks.push(Check { name, fault, remark: None });
        }
        let loaded =
            self.components.iter().map(|name| Check::new(format!("component {name}"), true, ""));
        checks.extend(loaded);
        checks.extend(self.reloads.iter().map(|(name, reloads)| {
            let remark = reloads.remark();
            Check { remark, ..Check::new(*name, true, "") }
        }));
        checks
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
