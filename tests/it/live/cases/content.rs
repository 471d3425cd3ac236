//! `http.compression.*` and the limits of content.

use super::{Case, Live};
use crate::harness::eventually;
use serde_json::json;

pub(super) const CASES: &[Case] = &[
    ("http.compression.brotliQuality", |live| quality(live, "br", "brotliQuality", [0, 9])),
    ("http.compression.gzipLevel", |live| quality(live, "gzip", "gzipLevel", [1, 9])),
    ("http.compression.zstdLevel", |live| quality(live, "zstd", "zstdLevel", [1, 19])),
    ("http.multipartPartsMax", multipart_parts_max),
    ("http.bodyRecordsMax", body_records_max),
    ("query.heldBytesMax", held_bytes_max),
    ("static.cacheBytesMax", |live| looks_again(live, "static.cacheBytesMax")),
    ("static.recheckAfter", |live| looks_again(live, "static.recheckAfter")),
];

/// Another quality gives another body.
fn quality(live: &Live, coding: &'static str, key: &str, [low, high]: [u32; 2]) {
    let words = (0..2000_u64).map(|n| format!("city {} by the sea", n * n * 7919 % 10_007));
    let body = json!({"name": words.collect::<Vec<_>>().join(", ")});
    live.client().put("/Dog/long", &body.to_string()).expect(204);
    let bytes = || {
        let client = live.client();
        let ask = client.request("GET", "/Dog/long").header("accept-encoding", coding);
        let reply = ask.send().expect(200);
        assert_eq!(reply.header("content-encoding"), coding);
        reply.body.len()
    };
    let key = format!("http.compression.{key}");
    live.set(&[(&key, json!(low))]);
    let before = bytes();
    live.set(&[(&key, json!(high))]);
    eventually("the other quality", || (bytes() != before).then_some(()));
}

fn multipart_parts_max(live: &Live) {
    let part = "--x\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nRex\r\n";
    let other = part.replace("\"name\"", "\"other\"");
    let status = || {
        let client = live.client();
        let body = format!("{part}{other}--x--\r\n");
        let ask = client.request("PUT", "/Dog/1").body("multipart/form-data; boundary=x", body);
        ask.send().status
    };
    assert_eq!(status(), 204);
    live.set(&[("http.multipartPartsMax", json!(1))]);
    eventually("the limit", || (status() == 413).then_some(()));
}

fn body_records_max(live: &Live) {
    let status = || live.client().put("/Dog/", r#"[{"id":"1"},{"id":"2"}]"#).status;
    assert_eq!(status(), 204);
    live.set(&[("http.bodyRecordsMax", json!(1))]);
    eventually("the limit", || (status() == 413).then_some(()));
}

/// With 0 for the key the disk is looked at each time.
fn looks_again(live: &Live, key: &str) {
    let hour = ("static.recheckAfter", json!("1h"));
    live.home.write("app/web/page.html", "old");
    live.set(std::slice::from_ref(&hour));
    let text = || live.client().get("/page.html").expect(200).text();
    let is_old = || text() == "old";
    eventually("the file to be in memory", || is_old().then_some(()));
    live.home.write("app/web/page.html", "new");
    assert!(is_old(), "the disk is not looked at");
    if key == hour.0 {
        live.set(&[(key, json!(0))]);
    } else {
        live.set(&[hour, (key, json!(0))]);
    }
    eventually("the new text", || (text() == "new").then_some(()));
}

fn held_bytes_max(live: &Live) {
    live.client().put("/Dog/1", &json!({"name": "x".repeat(500)}).to_string()).expect(204);
    let status = || {
        let client = live.client();
        client.request("GET", "/Dog/").header("accept", "application/msgpack").send().status
    };
    assert_eq!(status(), 200);
    live.set(&[("query.heldBytesMax", json!(100))]);
    eventually("the limit", || (status() == 400).then_some(()));
}
