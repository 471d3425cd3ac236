//! Distributed traces: `traceparent` is followed, and spans reach a collector as OTLP over HTTP.

use super::home;
use crate::harness::collector::{Collector, fields};
use crate::harness::{Launch, Server, eventually, server::text};
use serde_json::Value;
use std::net::TcpListener;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn launch(collector: &Collector) -> Launch {
    home().launch().set(&format!("telemetry.otlp.endpoint={}", collector.url))
}

fn traced(server: &Server, path: &str, flags: &str) {
    let client = server.client();
    let ask =
        client.request("GET", path).header("traceparent", &format!("00-{TRACE}-{PARENT}-{flags}"));
    ask.header("tracestate", "vendor=1").send();
}

#[test]
fn a_request_is_a_span_of_the_callers_trace() {
    let collector = Collector::start(&[200]);
    let launch = launch(&collector).set("telemetry.otlp.headers=[api-key=s3cret]");
    let launch = launch.set("telemetry.attributes={deployment.environment.name: test}");
    let server = launch.set("telemetry.serviceName=kennel").start();
    server.client().put("/Dog/rex", r#"{"name":"Rex"}"#).expect(204);
    traced(&server, "/Dog/rex?select(name)", "01");
    let of = |method: &str| {
        eventually(method, || {
            let mut all = collector.spans().into_iter();
            all.find(|span| span.text("http.request.method") == method)
        })
    };
    let (put, get) = (of("PUT"), of("GET"));
    assert_eq!((get.hex(1), get.hex(4)), (TRACE.to_owned(), PARENT.to_owned()));
    assert!(get.hex(2).len() == 16 && get.hex(2) != PARENT, "a span of its own");
    assert_eq!(
        (text(&get.bytes[&3]), text(&get.bytes[&5])),
        ("vendor=1".into(), "GET /Dog".into())
    );
    assert_eq!((get.numbers[&6], get.numbers[&16]), (2, 0x301), "a server's, with a remote parent");
    assert!(get.numbers[&7] > 1_700_000_000_000_000_000 && get.numbers[&8] >= get.numbers[&7]);
    assert!(!get.bytes.contains_key(&15), "no error");
    for (name, value) in [
        ("url.query", "select(name)".into()),
        ("url.scheme", "http".into()),
        ("http.route", "/Dog".into()),
        ("http.response.status_code", 200.into()),
        ("client.address", "127.0.0.1".into()),
        ("network.protocol.version", "1.1".into()),
        ("server.port", Value::from(server.http.port())),
    ] {
        assert_eq!(get.attributes.get(name), Some(&value), "{name}: {get:?}");
    }
    assert_eq!(put.attributes["http.request.body.size"], 14, "{put:?}");
    assert!(put.hex(4).is_empty() && put.hex(1).len() == 32, "a trace that begins here");
    assert_eq!(get.resource["service.name"], "kennel");
    assert_eq!(get.resource["deployment.environment.name"], "test");
    let head = collector.posts.lock().unwrap()[0].head.clone();
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    assert!(head.contains("api-key: s3cret") && head.contains("application/x-protobuf"), "{head}");
    eventually("the count", || (server.metric("harper_otlp_exported_total") == 2.0).then_some(()));
    assert_eq!(server.metric("harper_otlp_dropped_total"), 0.0);
    assert!(!server.log().contains("s3cret"));
}

#[test]
fn what_the_caller_does_not_record_is_not_recorded_and_errors_are_marked() {
    let collector = Collector::start(&[200]);
    let server = launch(&collector).set("telemetry.sampleRatio=0").start();
    server.client().get("/Dog/").expect(200);
    traced(&server, "/Dog/unrecorded", "00");
    traced(&server, "/Dog/recorded", "01");
    collector.span("/Dog/recorded");
    assert_eq!(collector.spans().len(), 1);
    drop(server);
    let slow = "storage.syncDelayForTests=1000";
    let server = launch(&collector).set(slow).set("http.responseTimeout=100").start();
    server.client().put("/Dog/slow", "{}").expect(503);
    let span = collector.span("/Dog/slow");
    assert_eq!(fields(&span.bytes[&15]), [(3, 2, &[][..])], "STATUS_CODE_ERROR");
    assert_eq!(span.text("error.type"), "503");
}

#[test]
fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let collector = Collector::start(&[400]);
    let server = launch(&collector).start();
    server.client().get("/Dog/").expect(200);
    eventually("the loss to be counted", || {
        (server.metric("harper_otlp_dropped_total") == 1.0).then_some(())
    });
    server.line("the collector answered 400");
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let launch = home().launch().set(&format!("telemetry.otlp.endpoint=http://{gone}"));
    let server = launch.set("telemetry.otlp.queueMax=10").start();
    for _ in 0..50 {
        server.client().get("/Dog/").expect(200);
    }
    eventually("all to be lost", || {
        (server.metric("harper_otlp_dropped_total") >= 30.0).then_some(())
    });
    assert_eq!(server.metric("harper_otlp_exported_total"), 0.0);
}

#[test]
fn a_collector_that_is_busy_is_asked_again_and_the_last_spans_are_sent_at_the_end() {
    let collector = Collector::start(&[503, 200]);
    let server = launch(&collector).start();
    server.client().get("/Dog/again").expect(404);
    eventually("the second attempt", || {
        (server.metric("harper_otlp_exported_total") == 1.0).then_some(())
    });
    server.client().get("/Dog/last").expect(404);
    server.stop();
    assert!(collector.spans().iter().any(|span| span.text("url.path") == "/Dog/last"));
}

#[test]
fn the_request_log_names_the_trace_without_any_collector() {
    let server = home().launch().set("http.logging.format=json").start();
    traced(&server, "/Dog/traced", "00");
    let line: Value = serde_json::from_str(&server.line("/Dog/traced")).unwrap();
    assert_eq!(line["trace_id"], TRACE);
    assert!(line["span_id"].is_string());
    server.client().get("/Dog/alone").expect(404);
    let line: Value = serde_json::from_str(&server.line("/Dog/alone")).unwrap();
    assert!(line.get("trace_id").is_none(), "{line}");
}

#[test]
fn the_headers_for_the_collector_are_not_shown() {
    let set = "telemetry.otlp.headers=[api-key=s3cret]";
    let output = home().output(&["config", "effective", "--set", set]);
    let shown = text(&output.stdout);
    assert!(
        shown.contains("telemetry.otlp.headers: \"a secret\"") && !shown.contains("s3cret"),
        "{shown}"
    );
}
