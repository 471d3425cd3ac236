//! Authentication, the log, the admin listener, and the end of the process.

use super::{Case, Live};
use crate::harness::eventually;
use crate::harness::server::{PASSWORD, USERNAME};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub(super) const CASES: &[Case] = &[
    ("authentication.authorizeLocal", authorize_local),
    ("authentication.cacheTTL", cache_ttl),
    ("logging.level", logging_level),
    ("logging.format", logging_format),
    ("admin.stuckAfter", stuck_after),
];

pub(super) const OWN: &[Case] =
    &[("shutdown.delay", shutdown_delay), ("shutdown.timeout", shutdown_timeout)];

fn authorize_local(live: &Live) {
    live.client().put("/Dog/1", "{}").expect(204);
    live.set(&[("authentication.authorizeLocal", json!(false))]);
    eventually("strangers to be refused", || {
        matches!(live.client().put("/Dog/1", "{}").status, 401 | 403).then_some(())
    });
}

fn cache_ttl(live: &Live) {
    let verified = || {
        let count = || live.server.metric("harper_credentials_verified_total");
        let before = count();
        for _ in 0..2 {
            live.client().login(USERNAME, PASSWORD).get("/Dog/").expect(200);
        }
        count() - before
    };
    verified();
    assert_eq!(verified(), 0.0, "remembered");
    live.set(&[("authentication.cacheTTL", json!(0))]);
    eventually("what was remembered to be forgotten", || (verified() == 2.0).then_some(()));
}

fn logging_level(live: &Live) {
    let warning = "takes effect at the next start: storage.treesMax";
    live.set(&[("logging.level", json!("error")), ("storage.treesMax", json!(64))]);
    live.server.line("logging.level");
    assert!(!live.server.log().contains(warning), "{}", live.server.log());
    live.set(&[("logging.level", json!("warn")), ("storage.treesMax", json!(64))]);
    live.server.line(warning);
    live.set(&[]);
}

fn logging_format(live: &Live) {
    live.set(&[("logging.format", json!("json"))]);
    let line = live.server.line("anew: logging.format");
    let line: Value = serde_json::from_str(&line).unwrap();
    assert!(line["message"].as_str().unwrap().contains("configuration read anew"), "{line}");
}

fn stuck_after(live: &Live) {
    live.server.admin().get("/livez").expect(200);
    live.set(&[("admin.stuckAfter", json!(1))]);
    let failed = || live.server.admin().get("/livez").status == 503;
    eventually("a heartbeat to be late", || failed().then_some(()));
}

/// Tells the process to stop and returns how long that took.
fn time_to_stop(live: &Live) -> Duration {
    let begun = Instant::now();
    live.server.signal(Signal::TERM);
    eventually("the end", || live.server.has_ended().then_some(()));
    begun.elapsed()
}

fn shutdown_delay(live: &Live) {
    live.set(&[("shutdown.delay", json!("1500ms"))]);
    assert!(time_to_stop(live) >= Duration::from_millis(1500));
}

fn shutdown_timeout(live: &Live) {
    let mut stuck = live.wire();
    stuck.send("PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{");
    eventually("the request to be in flight", || {
        (live.server.metric("harper_http_requests_in_flight") >= 1.0).then_some(())
    });
    live.set(&[("shutdown.timeout", json!("700ms"))]);
    let took = time_to_stop(live);
    assert!(took >= Duration::from_millis(700) && took < Duration::from_secs(15), "{took:?}");
}
