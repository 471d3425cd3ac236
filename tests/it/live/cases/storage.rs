//! `storage.*` and what else limits the databases.

use super::{Case, Live};
use crate::harness::eventually;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub(super) const CASES: &[Case] = &[
    ("storage.syncDelayForTests", sync_delay),
    ("storage.queueBytesMax", queue_bytes_max),
    ("storage.batchBytesMax", |live| batches(live, "storage.batchBytesMax")),
    ("storage.batchMax", |live| batches(live, "storage.batchMax")),
    ("storage.freeBytesMin", free_bytes_min),
    ("storage.maxTransactionQueueTime", queue_time_max),
    ("storage.changeLogBytesMax", |live| log_shrinks(live, "storage.changeLogBytesMax", json!(1))),
    ("logging.auditRetention", |live| log_shrinks(live, "logging.auditRetention", json!(1))),
    ("storage.expirySweepInterval", expiry_sweep_interval),
    ("query.sortRecordsMax", |live| query_limit(live, "query.sortRecordsMax", "sort(name)")),
    ("query.relatedRecordsMax", related_records_max),
    ("query.scanRecordsMax", |live| query_limit(live, "query.scanRecordsMax", "name=none")),
    ("query.valueBytesMax", |live| query_limit(live, "query.valueBytesMax", "name=ct=abcd")),
];

const SLOW: (&str, u64) = ("storage.syncDelayForTests", 150);

fn slow(millis: u64) -> (&'static str, Value) {
    (SLOW.0, json!(millis))
}

/// The statuses of as many writes at once.
fn put_at_once(live: &Live, count: usize) -> Vec<u16> {
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..count)
            .map(|id| scope.spawn(move || live.client().put(&format!("/Dog/{id}"), "{}").status))
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    })
}

fn sync_delay(live: &Live) {
    live.set(&[slow(400)]);
    eventually("a slow disk", || {
        let begun = Instant::now();
        live.client().put("/Dog/1", "{}").expect(204);
        (begun.elapsed().as_millis() >= 400).then_some(())
    });
}

fn queue_bytes_max(live: &Live) {
    live.set(&[slow(300)]);
    assert!(put_at_once(live, 4).iter().all(|status| *status == 204));
    live.set(&[slow(300), ("storage.queueBytesMax", json!(1))]);
    eventually("the limit", || put_at_once(live, 4).contains(&503).then_some(()));
}

fn batches(live: &Live, key: &str) {
    let commits = || {
        let count = || live.server.metric("harper_store_commits_total{database=\"data\"}");
        let before = count();
        assert!(put_at_once(live, 12).iter().all(|status| *status == 204));
        count() - before
    };
    live.set(&[slow(SLOW.1)]);
    eventually("writes that share a sync", || (commits() < 12.0).then_some(()));
    live.set(&[slow(SLOW.1), (key, json!(1))]);
    eventually("a sync for each write", || (commits() == 12.0).then_some(()));
}

fn free_bytes_min(live: &Live) {
    live.client().put("/Dog/1", "{}").expect(204);
    live.set(&[("storage.freeBytesMin", json!("8000T"))]);
    eventually("the limit", || (live.client().put("/Dog/1", "{}").status == 507).then_some(()));
}

fn queue_time_max(live: &Live) {
    live.set(&[slow(600), ("storage.maxTransactionQueueTime", json!(100))]);
    eventually("the limit", || (live.client().put("/Dog/1", "{}").status == 503).then_some(()));
}

fn expiry_sweep_interval(live: &Live) {
    let removed = || live.server.metric("harper_store_expired_total{database=\"data\"}");
    live.set(&[("storage.expirySweepInterval", json!("1h"))]);
    live.client().put("/Brief/1", "{}").expect(204);
    let before = removed();
    eventually("the record to expire", || {
        (live.client().get("/Brief/1").status == 404).then_some(())
    });
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(removed(), before);
    live.set(&[("storage.expirySweepInterval", json!(10))]);
    eventually("the record to be removed", || (removed() > before).then_some(()));
}

fn log_shrinks(live: &Live, key: &str, value: Value) {
    let bytes = || live.server.metric("harper_store_change_log_bytes{database=\"data\"}");
    let fill = |count: usize| {
        for _ in 0..count {
            live.client()
                .put("/Dog/1", &format!(r#"{{"name":"{}"}}"#, "x".repeat(200)))
                .expect(204);
        }
    };
    fill(40);
    let before = bytes();
    assert!(before > 1000.0, "{before}");
    live.set(&[(key, value)]);
    eventually("the log to shrink", || {
        fill(10);
        (bytes() < before).then_some(())
    });
}

fn related_records_max(live: &Live) {
    let pups: Vec<_> = (0..5).map(|id| format!(r#"{{"id":"p{id}","motherId":"m"}}"#)).collect();
    live.client().put("/Dog/", &format!(r#"[{{"id":"m"}},{}]"#, pups.join(","))).expect(204);
    let status = || live.client().get("/Dog/m?select(pups)").status;
    assert_eq!(status(), 200);
    live.set(&[("query.relatedRecordsMax", json!(3))]);
    eventually("the limit", || (status() == 400).then_some(()));
}

/// The table has more records than `query` may then sort or search.
fn query_limit(live: &Live, key: &'static str, query: &str) {
    let records: Vec<_> = (0..20).map(|id| format!(r#"{{"id":"s{id}","name":"{id}"}}"#)).collect();
    live.client().put("/Dog/", &format!("[{}]", records.join(","))).expect(204);
    live.client().get(&format!("/Dog/?{query}")).expect(200);
    live.set(&[(key, json!(3))]);
    let status = || live.client().get(&format!("/Dog/?{query}")).status;
    eventually("the limit", || (status() == 400).then_some(()));
}
