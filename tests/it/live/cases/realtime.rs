//! `realtime.*` and `http.eventStream.*`.

use super::{Case, Live};
use crate::events::stream::Stream;
use crate::harness::eventually;
use serde_json::{Value, json};

pub(super) const CASES: &[Case] = &[
    ("realtime.subscriptionsMax", subscriptions_max),
    ("realtime.outboxBytesMax", outbox_bytes_max),
    ("realtime.inboxBytesMax", inbox_bytes_max),
    ("realtime.heldBytesMax", held_bytes_max),
    ("http.eventStream.heartbeat", heartbeat),
    ("http.eventStream.retry", retry),
    ("http.eventStream.names", names),
    ("http.eventStream.compression", compression),
];

fn open(live: &Live) -> Stream {
    let mut stream = Stream::open(&live.server, "/Dog/nobody", &[]);
    stream.place();
    stream
}

fn subscriptions_max(live: &Live) {
    let _first = open(live);
    let refused = || Stream::ask(&live.server, "/Dog/", &[]).err();
    assert!(refused().is_none());
    live.set(&[("realtime.subscriptionsMax", json!(1))]);
    assert_eq!(eventually("the limit", refused).status, 503);
}

/// Whether ten records that are written at once make somebody go back to the log.
fn makes_late(live: &Live, scope: &str) -> bool {
    let returns = || {
        let series = format!("harper_realtime_catch_ups_total{{scope=\"{scope}\"}}");
        live.server.metric(&series)
    };
    let mut stream =
        Stream::open(&live.server, "/Dog/ten/", &[("Last-Event-ID", &open(live).last_id)]);
    let before = returns();
    let records: Vec<Value> = (0..10).map(|n| json!({"id": format!("ten/{n}")})).collect();
    live.client().put("/Dog/", &Value::from(records).to_string()).expect(204);
    assert_eq!(stream.short(10).last().unwrap(), "put ten/9");
    returns() > before
}

fn outbox_bytes_max(live: &Live) {
    assert!(!makes_late(live, "subscription"));
    live.set(&[("realtime.outboxBytesMax", json!(1))]);
    eventually("the limit", || makes_late(live, "subscription").then_some(()));
}

fn inbox_bytes_max(live: &Live) {
    assert!(!makes_late(live, "table"));
    live.set(&[("realtime.inboxBytesMax", json!(1))]);
    eventually("the limit", || makes_late(live, "table").then_some(()));
}

fn held_bytes_max(live: &Live) {
    assert!(!makes_late(live, "subscription"));
    live.set(&[("realtime.heldBytesMax", json!(1))]);
    eventually("the limit", || makes_late(live, "subscription").then_some(()));
}

fn heartbeat(live: &Live) {
    live.set(&[("http.eventStream.heartbeat", json!(1))]);
    open(live).comment();
}

fn retry(live: &Live) {
    assert_eq!(open(live).retry, Some(1000));
    live.set(&[("http.eventStream.retry", json!(77))]);
    eventually("the time", || (open(live).retry == Some(77)).then_some(()));
}

fn names(live: &Live) {
    live.client().put("/Dog/named", "{}").expect(204);
    let name = || Stream::open(&live.server, "/Dog/named", &[]).next().unwrap().name;
    assert_eq!(name(), "message");
    live.set(&[("http.eventStream.names", json!(true))]);
    eventually("the name", || (name() == "put").then_some(()));
}

fn compression(live: &Live) {
    let coding = || {
        let stream = Stream::open(&live.server, "/Dog/", &[("Accept-Encoding", "gzip")]);
        stream.headers.get("content-encoding").is_some_and(|coding| coding == "gzip")
    };
    assert!(!coding());
    live.set(&[("http.eventStream.compression", json!(true))]);
    eventually("the coding", || coding().then_some(()));
}
