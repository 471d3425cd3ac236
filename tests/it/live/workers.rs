//! Workers come and go under load, and no client notices.

use super::fixture::{Live, home, limit_cpu};
use crate::harness::server::named_threads;
use crate::harness::{PATIENCE, Wire, eventually};
use crate::mqtt::client::{Mqtt, message};
use harper_mqtt::{Reason, Version};
use rustix::process::Signal;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What a change of the CPU limit may take to show.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(2);

/// Clients that ask again and again while `body` runs.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    answered: AtomicUsize,
    failed: AtomicUsize,
    reconnected: AtomicUsize,
}

impl Load {
    /// Asks on one connection until told to stop; where an answer announces its end, on another one.
    fn keep_alive(&self, live: &Live) {
        let mut wire = live.wire();
        while !self.stop.load(Ordering::Relaxed) {
            match wire.get("/Dog/").try_reply() {
                Some(reply) if reply.status == 200 => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    if reply.header("connection") == "close" {
                        self.reconnected.fetch_add(1, Ordering::Relaxed);
                        wire = live.wire();
                    }
                }
                _ => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    wire = live.wire();
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Asks on a new connection each time; one that is refused is counted by `on_refused`.
    fn connect(&self, live: &Live, on_refused: &AtomicUsize) {
        while !self.stop.load(Ordering::Relaxed) {
            let Ok(mut wire) = Wire::try_connect(live.server.http) else {
                on_refused.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let is_good = wire.get("/Dog/").try_reply().is_some_and(|reply| reply.status == 200);
            let counter = if is_good { &self.answered } else { &self.failed };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[track_caller]
    fn more(&self, count: usize) {
        let before = self.answered.load(Ordering::Relaxed);
        let after = || self.answered.load(Ordering::Relaxed);
        eventually("answers", || (after() >= before + count).then_some(()));
    }
}

fn running(live: &Live) -> f64 {
    live.server.metric("harper_workers_running")
}

/// Waits for so many workers, and returns how long that took.
#[track_caller]
fn follows(live: &Live, count: f64) -> Duration {
    let begun = Instant::now();
    eventually(&format!("{count} workers"), || (running(live) == count).then_some(()));
    assert_eq!(live.server.metric("harper_workers_wanted"), count);
    begun.elapsed()
}

#[test]
fn a_changed_cpu_limit_is_followed_and_no_request_fails() {
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return;
    }
    let live =
        Live::start_with(home(), &[("threads.count", json!("auto")), ("threads.max", json!(2))]);
    follows(&live, 2.0);
    let load = Load::default();
    let mut quickest = PATIENCE;
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| load.keep_alive(&live));
        }
        load.more(200);
        for (quota, workers) in [("50000", 1.0), ("150000", 2.0), ("100000", 1.0), ("max", 2.0)] {
            limit_cpu(&live.home, quota);
            quickest = quickest.min(follows(&live, workers));
            eventually("the retired to end", || {
                (live.server.metric("harper_workers_retiring") == 0.0).then_some(())
            });
            assert_eq!(named_threads(live.server.pid(), "http/"), workers as usize);
            load.more(200);
        }
        load.stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(load.failed.into_inner(), 0);
    // the machine may be busy with something else for once, not each time
    assert!(quickest < FOLLOWED_WITHIN, "took {quickest:?} at best");
    assert!(load.reconnected.into_inner() >= 2, "connections of the retired worker moved on");
    live.server.admin().get("/livez").expect(200);
    assert!(live.server.log().contains("1 worker(s) from now on"), "{}", live.server.log());
}

/// A control group of this machine with a CPU limit of its own, removed when dropped.
struct Group(PathBuf);

impl Group {
    /// A group in the CPU hierarchy of cgroup v1, or in cgroup v2 where it hands the controller down; none where this
    /// process may not make one.
    fn make() -> Option<Self> {
        let name = format!("harper-it-{}", std::process::id());
        ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup"].iter().find_map(|mount| {
            let path = Path::new(mount).join(&name);
            std::fs::create_dir(&path).ok()?;
            let group = Self(path);
            let has_limit = ["cpu.max", "cpu.cfs_quota_us"].map(|file| group.0.join(file).exists());
            has_limit.contains(&true).then_some(group)
        })
    }

    fn limit(&self, micros: u32) {
        match self.0.join("cpu.max").exists() {
            true => std::fs::write(self.0.join("cpu.max"), format!("{micros} 100000")).unwrap(),
            false => std::fs::write(self.0.join("cpu.cfs_quota_us"), micros.to_string()).unwrap(),
        }
    }

    fn take_in(&self, pid: u32) {
        std::fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // what ran in it has been ended before; the kernel may take a moment to see it
        let begun = Instant::now();
        while std::fs::remove_dir(&self.0).is_err() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_real_control_group_is_followed() {
    let Some(group) = Group::make() else { return eprintln!("no control group can be made here") };
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return;
    }
    let root = ("threads.cgroupRootForTests", json!("/sys/fs/cgroup"));
    let live = Live::start_with(home(), &[("threads.count", json!("auto")), root]);
    group.limit(150_000);
    group.take_in(live.server.pid());
    eventually("the limit", || {
        let page = live.server.admin().get("/metrics").text();
        page.contains("harper_cpu_limit_cores 1.5\n").then_some(())
    });
    follows(&live, 2.0);
    group.limit(50_000);
    follows(&live, 1.0);
    for _ in 0..200 {
        live.client().get("/Dog/").expect(200);
    }
    assert!(live.server.metric("harper_cpu_periods_total") > 0.0);
    assert!(live.server.metric("harper_cpu_throttled_seconds_total") >= 0.0);
    group.limit(200_000);
    follows(&live, 2.0);
    drop(live);
}

#[test]
fn no_new_connection_is_refused_or_reset_while_workers_come_and_go() {
    let live = Live::start_with(home(), &[("threads.count", json!(4))]);
    let (load, refused) = (Load::default(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| load.connect(&live, &refused));
        }
        load.more(50);
        for _ in 0..6 {
            for count in [1, 4] {
                live.set(&[("threads.count", json!(count))]);
                follows(&live, f64::from(count));
                load.more(50);
            }
        }
        load.stop.store(true, Ordering::Relaxed);
    });
    assert_eq!((refused.into_inner(), load.failed.into_inner()), (0, 0));
}

#[test]
fn an_idle_connection_outlives_its_worker_and_a_retired_one_comes_back() {
    let live = Live::start_with(home(), &[("threads.count", json!(4))]);
    let mut idle: Vec<_> = (0..32).map(|_| live.wire()).collect();
    for wire in &mut idle {
        wire.get("/Dog/").reply().expect(200);
    }
    live.set(&[("threads.count", json!(1))]);
    follows(&live, 1.0);
    let retiring = || live.server.metric("harper_workers_retiring");
    eventually("workers that wait for their connections", || (retiring() == 3.0).then_some(()));
    live.server.admin().get("/livez").expect(200);
    live.set(&[("threads.count", json!(4))]);
    follows(&live, 4.0);
    assert_eq!(named_threads(live.server.pid(), "http/"), 4, "no thread beside the retired ones");
    for wire in &mut idle {
        let reply = wire.get("/Dog/").reply().expect(200);
        assert_eq!(reply.header("connection"), "keep-alive", "nothing was cut, nothing is");
    }
    live.set(&[("threads.count", json!(1))]);
    let closing = idle.iter_mut().filter_map(|wire| {
        let reply = wire.get("/Dog/").reply().expect(200);
        (reply.header("connection") == "close").then(|| wire.closed())
    });
    assert!(closing.count() > 0);
    eventually("the retired to end", || (retiring() == 0.0).then_some(()));
}

#[test]
fn downloads_and_uploads_under_way_are_completed_by_a_retired_worker() {
    let live = Live::start_with(home(), &[("threads.count", json!(4))]);
    let record = |id: usize| format!(r#"{{"id":"{id}","name":"{}"}}"#, "x".repeat(1000));
    let records: Vec<_> = (0..4000).map(record).collect();
    live.client().put("/Dog/", &format!("[{}]", records.join(","))).expect(204);
    let mut downloads: Vec<_> = (0..8).map(|_| live.wire()).collect();
    for wire in &mut downloads {
        assert_eq!(wire.get("/Dog/").head().unwrap().0, 200);
    }
    let mut uploads: Vec<_> = (0..8).map(|_| live.wire()).collect();
    for wire in &mut uploads {
        wire.send("PUT /Dog/up HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\n{\"name\"");
    }
    live.set(&[("threads.count", json!(1))]);
    follows(&live, 1.0);
    for mut wire in downloads {
        let body = wire.chunks().expect("the whole answer").concat();
        let list: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(list.as_array().unwrap().len(), 4000);
    }
    for mut wire in uploads {
        wire.send(":\"Rex\"}").reply().expect(204);
    }
}

#[test]
fn counters_do_not_fall_when_a_worker_goes() {
    let live = Live::start_with(home(), &[("threads.count", json!(4))]);
    for _ in 0..40 {
        live.wire().get("/Dog/").reply().expect(200);
    }
    let served = || live.server.metric("harper_http_request_duration_seconds_count");
    eventually("the requests to be counted", || (served() >= 40.0).then_some(()));
    live.set(&[("threads.count", json!(1))]);
    eventually("the others to end", || {
        (named_threads(live.server.pid(), "http/") == 1).then_some(())
    });
    assert!(served() >= 40.0);
}

#[test]
fn stopping_resets_no_connection_that_was_accepted() {
    let live = Live::start_with(home(), &[("threads.count", json!(2))]);
    let (load, refused) = (Load::default(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| load.connect(&live, &refused));
        }
        load.more(100);
        live.server.signal(Signal::TERM);
        let begun = Instant::now();
        while !live.server.has_ended() {
            assert!(begun.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(10));
        }
        load.stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(load.failed.into_inner(), 0, "who was let in was answered");
    assert!(refused.into_inner() > 0, "others were refused and can go elsewhere");
}

#[test]
fn a_client_of_mqtt_is_told_when_its_worker_goes() {
    let live = Live::start();
    live.set(&[("threads.count", json!(3))]);
    follows(&live, 3.0);
    // they publish alone: no subscription ends
    let client = |number| Mqtt::version(&live.server, Version::V5).clean(&format!("c{number}"));
    let mut clients: Vec<Mqtt> = (0..24).map(client).collect();
    live.set(&[("threads.count", json!(1))]);
    follows(&live, 1.0);
    let mut stayed = 0;
    for client in &mut clients {
        match client.last_word() {
            Some(last) => assert_eq!(last.reason, Reason::ServerShuttingDown),
            None => {
                assert_eq!(client.publish_1(message("Dog/1", "x")), Reason::Success);
                stayed += 1;
            }
        }
    }
    assert!((1..clients.len()).contains(&stayed), "{stayed} of {}", clients.len());
    Mqtt::version(&live.server, Version::V5).clean("again").disconnect();
}
