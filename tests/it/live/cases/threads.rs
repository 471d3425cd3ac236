//! `threads.*` and `pool.*`: how many threads there are.

use super::super::fixture::limit_cpu;
use super::{Case, Live};
use crate::harness::eventually;
use crate::harness::server::named_threads;
use serde_json::{Value, json};

pub(super) const CASES: &[Case] = &[
    ("threads.count", count),
    ("threads.basis", basis),
    ("threads.min", min),
    ("threads.max", max),
    ("pool.threads", pool_threads),
];

fn auto() -> (&'static str, Value) {
    ("threads.count", json!("auto"))
}

fn cpus() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

#[track_caller]
fn workers(live: &Live, count: usize) {
    eventually(&format!("{count} workers"), || {
        (live.server.metric("harper_workers_running") == count as f64).then_some(())
    });
}

fn count(live: &Live) {
    live.set(&[("threads.count", json!(3))]);
    workers(live, 3);
    live.set(&[("threads.count", json!(1))]);
    workers(live, 1);
}

fn basis(live: &Live) {
    limit_cpu(&live.home, "50000");
    live.set(&[auto()]);
    workers(live, 1);
    live.set(&[auto(), ("threads.basis", json!("cpus"))]);
    workers(live, cpus());
    limit_cpu(&live.home, "max");
}

fn min(live: &Live) {
    live.set(&[auto(), ("threads.min", json!(cpus() + 2))]);
    workers(live, cpus() + 2);
}

fn max(live: &Live) {
    live.set(&[auto()]);
    workers(live, cpus());
    live.set(&[auto(), ("threads.max", json!(1))]);
    workers(live, 1);
}

fn pool_threads(live: &Live) {
    for count in [5, 1, 3] {
        live.set(&[("pool.threads", json!(count))]);
        let is_so = || named_threads(live.server.pid(), "pool/") == count;
        eventually(&format!("{count} threads"), || is_so().then_some(()));
    }
}
