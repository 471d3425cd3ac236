//! Stopping: readiness fails first, requests under way finish, a deadline ends the wait.

use crate::harness::{Home, Launch, Server, Wire, eventually};
use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn launch() -> Launch {
    Home::with_schema("type Dog @table @export { id: ID @primaryKey name: String }")
        .launch()
        .set("threads.count=2")
}

/// A PUT of which only a part has been sent.
fn begin_upload(server: &Server, id: &str) -> Wire {
    let mut wire = server.wire();
    wire.send(format!(
        "PUT /Dog/{id} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\n{{\"name\""
    ));
    eventually("the request to be in flight", || {
        (server.metric("harper_http_requests_in_flight") >= 1.0).then_some(())
    });
    wire
}

#[test]
fn a_request_under_way_finishes_and_then_the_process_ends_with_0() {
    let mut server = launch().start();
    let mut idle = server.wire();
    idle.get("/Dog/").reply().expect(200);
    let mut upload = begin_upload(&server, "1");
    server.signal(Signal::TERM);
    server.line("stopping");
    idle.closed();
    eventually("new connections to be refused", || {
        let refused =
            Wire::try_connect(server.http).ok().map(|mut wire| wire.get("/Dog/").try_reply());
        (refused.is_none_or(|reply| reply.is_none())).then_some(())
    });
    assert!(server.is_running(), "it waits for the request");
    upload.send(":\"Rex\"}");
    let reply = upload.reply().expect(204);
    assert_eq!(reply.header("connection"), "close", "the client is told: {reply}");
    upload.closed();
    assert_eq!(server.wait().code(), Some(0));
    let server = server.home.start();
    assert_eq!(
        server.client().get("/Dog/1").json()["name"],
        "Rex",
        "what was acknowledged is there"
    );
}

#[test]
fn readiness_fails_first_and_nobody_is_refused_during_the_delay() {
    let mut server = launch().set("shutdown.delay=2s").start();
    server.admin().get("/readyz").expect(200);
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // a new connection each time
                    server.wire().get("/Dog/").reply().expect(200);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        eventually("some load", || (served.load(Ordering::Relaxed) > 20).then_some(()));
        server.signal(Signal::TERM);
        let begun = Instant::now();
        let report = eventually("readiness to fail", || {
            let reply = server.admin().get("/readyz");
            (reply.status == 503).then(|| reply.text())
        });
        assert!(report.contains("shutdown") && report.contains("stopping"), "{report}");
        server.admin().get("/livez").expect(200);
        let before = served.load(Ordering::Relaxed);
        while begun.elapsed() < Duration::from_millis(1200) {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(served.load(Ordering::Relaxed) > before, "it serves on during the delay");
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn the_deadline_cuts_a_request_that_is_stuck() {
    let mut server = launch().set("shutdown.timeout=1500").start();
    let mut stuck = begin_upload(&server, "1");
    let begun = Instant::now();
    server.signal(Signal::TERM);
    let status = server.wait();
    assert!(begun.elapsed() > Duration::from_millis(1000), "it was given its time");
    assert_ne!(status.code(), Some(0), "an unfinished request is no success");
    assert!(status.code().is_some(), "it ended by itself");
    assert!(stuck.try_reply().is_none_or(|reply| reply.status >= 400));
    server.line("did not finish in time");
}

#[test]
fn told_twice_it_ends_at_once() {
    for delay in ["0", "60s"] {
        let launch = launch().set("shutdown.timeout=60s").set(&format!("shutdown.delay={delay}"));
        let mut server = launch.start();
        let _stuck = begin_upload(&server, "1");
        let begun = Instant::now();
        server.signal(Signal::TERM);
        server.line("stopping");
        server.signal(Signal::INT);
        assert_eq!(server.wait().code(), Some(1), "an unfinished request is no success");
        assert!(begun.elapsed() < Duration::from_secs(15), "took {:?}", begun.elapsed());
    }
}

#[test]
fn connections_that_send_nothing_do_not_hold_the_process() {
    let mut server = launch().set("shutdown.timeout=15s").start();
    let mut silent: Vec<_> = (0..10).map(|_| server.wire()).collect();
    let mut half = server.wire();
    half.get("/Dog/").reply().expect(200);
    let begun = Instant::now();
    server.signal(Signal::TERM);
    let status = server.wait();
    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(begun.elapsed() < Duration::from_secs(10), "took {:?}", begun.elapsed());
    for wire in &mut silent {
        wire.closed();
    }
}

#[test]
fn interrupt_stops_it_as_well() {
    let mut server = launch().start();
    server.client().put("/Dog/1", "{}").expect(204);
    server.signal(Signal::INT);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_download_under_way_is_completed() {
    let mut server = launch().start();
    let records: Vec<_> =
        (0..6000).map(|id| format!(r#"{{"id":"{id}","name":"{}"}}"#, "x".repeat(1000))).collect();
    server.client().put("/Dog/", &format!("[{}]", records.join(","))).expect(204);
    let mut wire = server.wire();
    wire.get("/Dog/");
    assert_eq!(wire.head().unwrap().0, 200);
    server.signal(Signal::TERM);
    server.line("stopping");
    std::thread::sleep(Duration::from_millis(300));
    let body = wire.chunks().expect("the whole answer").concat();
    let list: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
    assert_eq!(list.len(), 6000);
    assert_eq!(server.wait().code(), Some(0));
}
