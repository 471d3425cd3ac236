//! Clients that are too slow, and connections that are idle.

use super::home;
use crate::harness::eventually;
use std::time::{Duration, Instant};

/// Fails unless `elapsed` is about `limit` seconds: not sooner, and not so late that nothing ended it.
#[track_caller]
fn about(elapsed: Duration, limit: f64) {
    let seconds = elapsed.as_secs_f64();
    assert!(seconds > limit * 0.7 && seconds < limit + 8.0, "{seconds} s for a limit of {limit} s");
}

#[test]
fn a_slow_head_is_408_after_headers_timeout() {
    let server = home().launch().set("http.headersTimeout=1500").start();
    let begun = Instant::now();
    let mut silent = server.wire();
    let mut slow = server.wire();
    slow.send("GET /Dog/ HTTP/1.1\r\nHost: te");
    let mut dripping = server.wire();
    for _ in 0..10 {
        dripping.send("X");
        std::thread::sleep(Duration::from_millis(100));
    }
    let reply = slow.reply();
    about(begun.elapsed(), 1.5);
    assert_eq!((reply.status, reply.header("connection")), (408, "close"));
    slow.closed();
    assert_eq!(
        dripping.try_reply().map(|reply| reply.status),
        Some(408),
        "bytes now and then do not help"
    );
    if let Some(reply) = silent.try_reply() {
        assert_eq!(reply.status, 408);
    }
    server.wire().get("/Dog/").reply().expect(200);
}

#[test]
fn a_slow_body_is_cut_after_timeout() {
    let server = home().launch().set("http.timeout=1500").start();
    let mut slow = server.wire();
    let begun = Instant::now();
    slow.send("PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{");
    if let Some(reply) = slow.try_reply() {
        assert_eq!(reply.status, 408, "{reply}");
    }
    about(begun.elapsed(), 1.5);
    server.client().get("/Dog/1").expect(404);
    eventually("the cut to be counted", || {
        (server.metric("harper_connections_closed_total{reason=\"timeout\"}") >= 1.0).then_some(())
    });
}

#[test]
fn an_idle_connection_is_closed_after_keep_alive_timeout() {
    let server = home().launch().set("http.keepAliveTimeout=1500").start();
    let mut wire = server.wire();
    let reply = wire.get("/Dog/").reply().expect(200);
    assert_eq!(reply.header("keep-alive"), "timeout=1");
    let mut busy = server.wire();
    let begun = Instant::now();
    for _ in 0..6 {
        busy.get("/Dog/").reply().expect(200);
        std::thread::sleep(Duration::from_millis(400));
    }
    busy.get("/Dog/").reply().expect(200);
    wire.closed();
    about(begun.elapsed(), 1.5);
    eventually("the idle connection to be counted", || {
        (server.metric("harper_connections_closed_total{reason=\"idle\"}") >= 1.0).then_some(())
    });
}

#[test]
fn a_client_that_does_not_read_is_cut_after_timeout() {
    let server = home().launch().set("http.timeout=1500").start();
    let many: Vec<_> =
        (0..20_000).map(|id| format!(r#"{{"id":"{id}","name":"{}"}}"#, "x".repeat(600))).collect();
    for part in many.chunks(5000) {
        server.client().put("/Dog/", &format!("[{}]", part.join(","))).expect(204);
    }
    let mut wire = server.wire();
    wire.get("/Dog/");
    eventually("the connection to be cut", || {
        (server.metric("harper_connections_closed_total{reason=\"timeout\"}") >= 1.0).then_some(())
    });
    let (status, _) = wire.head().unwrap();
    assert_eq!(status, 200);
    assert!(wire.chunks().is_none(), "the client sees that the answer is not whole");
}

#[test]
fn a_client_that_begins_a_request_and_does_not_read_the_answer_before_is_cut() {
    let launch = home().launch().set("http.headersTimeout=1000").set("http.keepAliveTimeout=1000");
    let server = launch.set("http.timeout=2000").start();
    let big = format!(r#"{{"name":"{}"}}"#, "x".repeat(12 << 20));
    server.client().put("/Dog/big", &big).expect(204);
    let mut stalled = server.wire();
    stalled.get("/Dog/big");
    std::thread::sleep(Duration::from_millis(700));
    stalled.send("G");
    let timeouts = "harper_connections_closed_total{reason=\"timeout\"}";
    eventually("the stalled client to be cut", || (server.metric(timeouts) >= 1.0).then_some(()));
    assert_eq!(server.metric("harper_connections"), 0.0);
}
