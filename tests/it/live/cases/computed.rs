//! `computed.*`: what one evaluation of a computed attribute may take.

use super::{Case, Live};
use crate::harness::eventually;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub(super) const CASES: &[Case] = &[
    ("computed.cpuMsMax", |live| limit(live, "work", "computed.cpuMsMax", json!(1))),
    ("computed.heapBytesMax", |live| limit(live, "hold", "computed.heapBytesMax", json!("1M"))),
    ("computed.resultBytesMax", |live| limit(live, "long", "computed.resultBytesMax", json!(10))),
    ("computed.pauseMs", pause),
];

/// Time for all, so that each test meets its own limit.
const PATIENT: (&str, u64) = ("computed.cpuMsMax", 60_000);

fn value(live: &Live, id: &str, name: &str) -> String {
    live.client().get(&format!("/Made/{id}.{name}")).expect(200).text()
}

/// An attribute that has a value has none under this limit.
fn limit(live: &Live, name: &str, key: &'static str, limit: Value) {
    live.set(&[(PATIENT.0, json!(PATIENT.1)), ("computed.pauseMs", json!(0))]);
    live.client().put("/Made/1", "{}").expect(204);
    eventually("a value", || (value(live, "1", name) != "null").then_some(()));
    let pairs = [(PATIENT.0, json!(PATIENT.1)), ("computed.pauseMs", json!(0)), (key, limit)];
    // the last of two values of a key is the one that is written
    live.set(&pairs);
    eventually("the limit", || (value(live, "1", name) == "null").then_some(()));
}

/// A record that broke a limit is not evaluated again, though it would have a value.
fn pause(live: &Live) {
    let (short, long) = (json!(1), json!(PATIENT.1));
    live.client().put("/Made/2", r#"{"n":2}"#).expect(204);
    let stays_null = |pause: u64| {
        let pause = ("computed.pauseMs", json!(pause));
        live.set(&[(PATIENT.0, short.clone()), pause.clone()]);
        eventually("the limit", || (value(live, "2", "work") == "null").then_some(()));
        live.set(&[(PATIENT.0, long.clone()), pause]);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(700) {
            if value(live, "2", "work") != "null" {
                return false;
            }
        }
        true
    };
    assert!(!stays_null(0));
    assert!(stays_null(600_000));
    // what is paused on this thread would be for the next test
    live.set(&[("computed.pauseMs", json!(0))]);
}
