//! `http.*`: what the layers add to answers, believe of proxies, and write to the request log.

use super::super::fixture::home;
use super::{Case, Live};
use crate::harness::collector::Collector;
use crate::harness::{Reply, eventually};
use serde_json::json;

pub(super) const CASES: &[Case] = &[
    ("http.corsAccessControlExposeHeaders", cors_expose_headers),
    ("http.corsAccessControlMaxAge", cors_max_age),
    ("http.trustedProxies", trusted_proxies),
    ("http.forwardedHeaders", forwarded_headers),
    ("http.proxyProtocol", proxy_protocol),
    ("http.requestId.header", request_id_header),
    ("http.requestId.send", request_id_send),
    ("http.responseTimeout", response_timeout),
    ("http.rateLimit.requests", rate_limit_requests),
    ("http.rateLimit.window", rate_limit_window),
    ("http.rateLimit.burst", rate_limit_burst),
    ("http.rateLimit.by", rate_limit_by),
    ("http.rateLimit.addressesMax", rate_limit_addresses_max),
    ("http.serverHeader", server_header),
    ("http.serverTiming", server_timing),
    ("http.securityHeaders", security_headers),
    ("http.logging.format", logging_format),
    ("http.logging.tag", logging_tag),
];

pub(super) const OWN: &[Case] = &[("telemetry.sampleRatio", sample_ratio)];

/// The answer to a GET with one header.
fn ask(live: &Live, name: &'static str, value: &str) -> Reply {
    live.client().request("GET", "/nothing").header(name, value).send()
}

#[track_caller]
fn becomes(what: &str, is_so: impl Fn() -> bool) {
    eventually(what, || is_so().then_some(()));
}

fn cors_expose_headers(live: &Live) {
    live.set(&[("http.corsAccessControlExposeHeaders", json!("X-Mine"))]);
    becomes("the header to be shown", || {
        let reply = ask(live, "origin", "http://a.example");
        reply.header("access-control-expose-headers") == "X-Mine"
    });
}

fn cors_max_age(live: &Live) {
    live.set(&[("http.corsAccessControlMaxAge", json!("1m"))]);
    becomes("the time", || {
        let client = live.client();
        let ask = client.request("OPTIONS", "/Dog/").header("origin", "http://a.example");
        let reply = ask.header("access-control-request-method", "GET").send();
        reply.header("access-control-max-age") == "60"
    });
}

fn is_taken(live: &Live) -> bool {
    ask(live, "x-request-id", "given").header("x-request-id") == "given"
}

fn trusted_proxies(live: &Live) {
    assert!(!is_taken(live));
    live.set(&[("http.trustedProxies", json!(["127.0.0.1"]))]);
    becomes("the proxy to be trusted", || is_taken(live));
}

fn forwarded_headers(live: &Live) {
    let pairs = [
        ("http.trustedProxies", json!(["127.0.0.1"])),
        ("http.securityHeaders", json!({"Strict-Transport-Security": "max-age=1"})),
        ("http.forwardedHeaders", json!("Forwarded")),
    ];
    let is_secure = || ask(live, "forwarded", "proto=https").has("strict-transport-security");
    live.set(&pairs[..2]);
    assert!(!is_secure());
    live.set(&pairs);
    becomes("the other kind to be read", is_secure);
}

fn proxy_protocol(live: &Live) {
    live.set(&[("http.trustedProxies", json!(["127.0.0.1"])), ("http.proxyProtocol", json!(true))]);
    becomes("the header to be read", || {
        let mut wire = live.wire();
        wire.send("PROXY UNKNOWN\r\nGET /Dog/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
        wire.try_reply().is_some_and(|reply| reply.status == 401)
    });
}

fn request_id_header(live: &Live) {
    live.set(&[("http.requestId.header", json!("X-Trace"))]);
    becomes("the name", || ask(live, "accept", "*/*").has("x-trace"));
}

fn request_id_send(live: &Live) {
    assert!(ask(live, "accept", "*/*").has("x-request-id"));
    live.set(&[("http.requestId.send", json!(false))]);
    becomes("no id", || !ask(live, "accept", "*/*").has("x-request-id"));
}

fn response_timeout(live: &Live) {
    let slow = ("storage.syncDelayForTests", json!(300));
    live.set(std::slice::from_ref(&slow));
    live.client().put("/Dog/1", "{}").expect(204);
    live.set(&[slow, ("http.responseTimeout", json!(50))]);
    becomes("the limit", || live.client().put("/Dog/1", "{}").status == 503);
}

const REQUESTS: &str = "http.rateLimit.requests";
const WINDOW: &str = "http.rateLimit.window";
const BURST: &str = "http.rateLimit.burst";

/// A header of an answer that is not refused for being one of too many.
fn quota(live: &Live, name: &str) -> String {
    ask(live, "accept", "*/*").header(name).to_owned()
}

fn rate_limit_requests(live: &Live) {
    live.set(&[(REQUESTS, json!(1000))]);
    becomes("the limit", || quota(live, "ratelimit-limit") == "1000");
}

fn rate_limit_window(live: &Live) {
    live.set(&[(REQUESTS, json!(10)), (WINDOW, json!("1h"))]);
    becomes("the window", || {
        quota(live, "ratelimit-reset").parse::<u64>().is_ok_and(|seconds| seconds > 100)
    });
}

fn rate_limit_burst(live: &Live) {
    live.set(&[(REQUESTS, json!(1000)), (WINDOW, json!("1h")), (BURST, json!(100_000))]);
    becomes("the burst", || {
        quota(live, "ratelimit-remaining").parse::<u64>().is_ok_and(|left| left > 1000)
    });
}

fn rate_limit_by(live: &Live) {
    use crate::harness::server::{PASSWORD, USERNAME};
    let pairs = [(REQUESTS, json!(1)), (WINDOW, json!("1h")), ("http.rateLimit.by", json!("user"))];
    live.set(&pairs[..2]);
    becomes("the address to be limited", || ask(live, "accept", "*/*").status == 429);
    live.set(&pairs);
    let user = live.client().login(USERNAME, PASSWORD);
    becomes("the user to be another client", || user.get("/Dog/").status == 200);
}

fn rate_limit_addresses_max(live: &Live) {
    let pairs = [(REQUESTS, json!(1)), (WINDOW, json!("2h"))];
    live.set(&pairs);
    becomes("the limit", || ask(live, "accept", "*/*").status == 429);
    let [requests, window] = pairs;
    live.set(&[requests, window, ("http.rateLimit.addressesMax", json!(5000))]);
    becomes("all to be forgotten", || ask(live, "accept", "*/*").status != 429);
}

fn server_header(live: &Live) {
    live.set(&[("http.serverHeader", json!("mine"))]);
    becomes("the name", || ask(live, "accept", "*/*").header("server") == "mine");
}

fn server_timing(live: &Live) {
    assert!(ask(live, "accept", "*/*").has("server-timing"));
    live.set(&[("http.serverTiming", json!(false))]);
    becomes("no time", || !ask(live, "accept", "*/*").has("server-timing"));
}

fn security_headers(live: &Live) {
    live.set(&[("http.securityHeaders", json!(true))]);
    becomes("the headers", || ask(live, "accept", "*/*").header("x-frame-options") == "DENY");
}

/// Waits for a request line that holds `part`, asking again and again.
#[track_caller]
fn logs(live: &Live, part: &str) {
    becomes(part, || {
        ask(live, "accept", "*/*");
        std::thread::sleep(std::time::Duration::from_millis(20));
        live.server.log().contains(part)
    });
}

fn logging_format(live: &Live) {
    live.set(&[("http.logging.format", json!("combined"))]);
    logs(live, r#""GET /nothing HTTP/1.1" 404"#);
}

fn logging_tag(live: &Live) {
    live.set(&[("http.logging.tag", json!("mine"))]);
    logs(live, "[mine]: GET /nothing HTTP/1.1 404");
}

/// This one needs a server that exports.
fn sample_ratio(_: &Live) {
    let collector = Collector::start(&[200]);
    let ratio = |ratio: u8| {
        let endpoint = ("telemetry.otlp.endpoint", json!(collector.url));
        [endpoint, ("telemetry.sampleRatio", json!(ratio))]
    };
    let live = Live::start_with(home(), &ratio(0));
    live.client().get("/before").expect(404);
    live.set(&ratio(1));
    becomes("a span", || {
        live.client().get("/after").expect(404);
        std::thread::sleep(std::time::Duration::from_millis(20));
        collector.spans().iter().any(|span| span.text("url.path") == "/after")
    });
    assert!(collector.spans().iter().all(|span| span.text("url.path") != "/before"));
}
