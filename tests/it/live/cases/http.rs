//! `http.*`: connections, messages, CORS and the request log.

use super::{Case, Live};
use crate::harness::{Reply, eventually};
use rustix::process::Signal;
use serde_json::json;
use std::time::Duration;

pub(super) const CASES: &[Case] = &[
    ("http.compressionThreshold", compression_threshold),
    ("http.cors", cors),
    ("http.corsAccessList", cors_access_list),
    ("http.corsAccessControlAllowHeaders", cors_allow_headers),
    ("http.headersTimeout", headers_timeout),
    ("http.keepAliveTimeout", keep_alive_timeout),
    ("http.timeout", timeout),
    ("http.maxHeaderSize", max_header_size),
    ("http.bodyBytesMax", body_bytes_max),
    ("http.bodiesBytesMax", bodies_bytes_max),
    ("http.connectionsMax", connections_max),
    ("http.requestQueueLimit", request_queue_limit),
    ("http.logging.level", logging_level),
    ("http.logging.timing", logging_timing),
    ("http.logging.headers", logging_headers),
    ("http.logging.id", logging_id),
];

fn compression_threshold(live: &Live) {
    live.client().put("/Dog/long", &format!(r#"{{"name":"{}"}}"#, "x".repeat(500))).expect(204);
    let encoding = || {
        let client = live.client();
        let ask = client.request("GET", "/Dog/long").header("accept-encoding", "br");
        ask.send().expect(200).header("content-encoding").to_owned()
    };
    assert_eq!(encoding(), "");
    live.set(&[("http.compressionThreshold", json!(100))]);
    eventually("compression", || (encoding() == "br").then_some(()));
}

fn request_queue_limit(live: &Live) {
    let after_a_stop = || {
        let mut wire = live.wire();
        wire.get("/Dog/").reply();
        live.server.hold_still();
        wire.get("/Dog/");
        std::thread::sleep(Duration::from_millis(900));
        live.server.signal(Signal::CONT);
        wire.reply().status
    };
    assert_eq!(after_a_stop(), 200);
    live.set(&[("http.requestQueueLimit", json!(200))]);
    eventually("the limit", || (after_a_stop() == 503).then_some(()));
}

fn from_page(live: &Live) -> Reply {
    live.client().request("GET", "/Dog/").header("origin", "http://a.example").send()
}

fn cors(live: &Live) {
    assert_eq!(from_page(live).header("access-control-allow-origin"), "*");
    live.set(&[("http.cors", json!(false))]);
    let is_off = || !from_page(live).has("access-control-allow-origin");
    eventually("CORS to be off", || is_off().then_some(()));
}

fn cors_access_list(live: &Live) {
    live.set(&[("http.corsAccessList", json!(["http://a.example"]))]);
    let admitted = || from_page(live).header("access-control-allow-credentials") == "true";
    eventually("the origin to be listed", || admitted().then_some(()));
}

fn cors_allow_headers(live: &Live) {
    live.set(&[("http.corsAccessControlAllowHeaders", json!("X-Mine"))]);
    let allowed = || {
        let client = live.client();
        let ask = client.request("OPTIONS", "/Dog/").header("origin", "http://a.example");
        let reply = ask.header("access-control-request-method", "GET").send();
        reply.header("access-control-allow-headers").contains("X-Mine")
    };
    eventually("the header to be allowed", || allowed().then_some(()));
}

fn headers_timeout(live: &Live) {
    let mut slow = live.wire();
    slow.send("GET /Dog/ HTTP/1.1\r\nHost: te");
    live.set(&[("http.headersTimeout", json!(300))]);
    assert_eq!(slow.reply().status, 408, "an open connection follows too");
}

fn keep_alive_timeout(live: &Live) {
    let mut idle = live.wire();
    assert_eq!(idle.get("/Dog/").reply().expect(200).header("keep-alive"), "timeout=30");
    live.set(&[("http.keepAliveTimeout", json!("1s"))]);
    idle.closed();
    let told = || live.wire().get("/Dog/").reply().header("keep-alive") == "timeout=1";
    eventually("clients to be told", || told().then_some(()));
}

fn timeout(live: &Live) {
    let mut slow = live.wire();
    slow.send("PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{");
    live.set(&[("http.timeout", json!(300))]);
    if let Some(reply) = slow.try_reply() {
        assert_eq!(reply.status, 408, "{reply}");
    }
    slow.closed();
}

fn max_header_size(live: &Live) {
    let status = |bytes: usize| {
        let header = "x".repeat(bytes);
        let mut wire = live.wire();
        wire.send(format!("GET /Dog/ HTTP/1.1\r\nHost: localhost\r\nX-Long: {header}\r\n\r\n"));
        wire.try_reply().map(|reply| reply.status)
    };
    assert_eq!(status(12_000), Some(200));
    live.set(&[("http.maxHeaderSize", json!(9000))]);
    eventually("the limit", || (status(12_000) == Some(431)).then_some(()));
}

fn body_bytes_max(live: &Live) {
    let body = format!(r#"{{"name":"{}"}}"#, "x".repeat(500));
    live.client().put("/Dog/1", &body).expect(204);
    live.set(&[("http.bodyBytesMax", json!(100))]);
    eventually("the limit", || (live.client().put("/Dog/1", &body).status == 413).then_some(()));
}

fn bodies_bytes_max(live: &Live) {
    let body = format!(r#"{{"name":"{}"}}"#, "x".repeat(200_000));
    live.client().put("/Dog/1", &body).expect(204);
    live.set(&[("http.bodiesBytesMax", json!(70_000))]);
    eventually("the limit", || (live.client().put("/Dog/1", &body).status == 503).then_some(()));
}

fn connections_max(live: &Live) {
    live.set(&[("http.connectionsMax", json!(2))]);
    eventually("the limit", || {
        let mut open: Vec<_> = (0..4).map(|_| live.wire()).collect();
        let replies = open.iter_mut().map(|wire| wire.get("/Dog/").try_reply());
        replies.flatten().any(|reply| reply.status == 503).then_some(())
    });
    live.set(&[]);
    eventually("room again", || {
        let mut open: Vec<_> = (0..4).map(|_| live.wire()).collect();
        let replies = open.iter_mut().map(|wire| wire.get("/Dog/").try_reply());
        replies.flatten().all(|reply| reply.status == 200).then_some(())
    });
}

/// The line of a request that is made now, if it is logged.
fn logged(live: &Live, mark: &str) -> Option<String> {
    live.client().request("GET", &format!("/Dog/{mark}")).header("x-mark", mark).send();
    std::thread::sleep(std::time::Duration::from_millis(20));
    live.server.log().lines().find(|line| line.contains(mark)).map(str::to_owned)
}

/// Waits for a request whose line is as wanted.
#[track_caller]
fn logs(live: &Live, what: &str, wanted: impl Fn(&str) -> bool) {
    let mut round = 0;
    eventually(what, || {
        round += 1;
        logged(live, &format!("{}-{round}", what.replace(' ', "-"))).filter(|line| wanted(line))
    });
}

fn logging_level(live: &Live) {
    live.client().put("/Dog/there", "{}").expect(204);
    live.set(&[("http.logging.level", json!("error"))]);
    assert_eq!(logged(live, "not-an-error"), None, "404 is no error of the server");
    live.set(&[("http.logging.level", json!("warn"))]);
    logs(live, "warnings", |line| line.contains("404"));
}

fn logging_timing(live: &Live) {
    live.set(&[("http.logging.level", json!("info"))]);
    logs(live, "a line", |line| !line.contains("ms"));
    live.set(&[("http.logging.timing", json!(true))]);
    logs(live, "the time", |line| line.contains("ms"));
}

fn logging_headers(live: &Live) {
    live.set(&[("http.logging.headers", json!(true))]);
    logs(live, "the headers", |line| line.contains("x-mark:"));
}

fn logging_id(live: &Live) {
    live.set(&[("http.logging.id", json!(true))]);
    logs(live, "the number", |line| line.contains("id: "));
}
