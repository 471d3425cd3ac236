//! Large results come as they are read, in chunks.

use crate::harness::{Home, Server};
use serde_json::{Value, json};
use std::time::Duration;

const RECORDS: usize = 4000;

fn start() -> Server {
    let server = Home::with_schema(
        "type T @table @export { id: Int @primaryKey n: Int @indexed text: String }",
    )
    .start();
    let client = server.client();
    for part in 0..4 {
        let ids = part * RECORDS / 4..(part + 1) * RECORDS / 4;
        let records: Vec<_> =
            ids.map(|id| json!({"id": id, "n": id % 7, "text": "x".repeat(400)})).collect();
        client.put("/T/", &json!(records).to_string()).expect(204);
    }
    server
}

#[test]
fn a_large_list_is_chunked_and_complete() {
    let server = start();
    let mut wire = server.wire();
    let (status, headers) = wire.get("/T/").head().unwrap();
    assert_eq!(status, 200);
    assert_eq!(headers["transfer-encoding"], "chunked");
    assert!(!headers.contains_key("content-length"));
    let chunks = wire.chunks().unwrap();
    assert!(chunks.len() > 10, "{} chunks", chunks.len());
    let body = chunks.concat();
    assert!(body.len() > 1 << 20);
    let list: Vec<Value> = serde_json::from_slice(&body).unwrap();
    assert_eq!(list.len(), RECORDS);
    assert!(list.iter().enumerate().all(|(at, record)| record["id"] == at));
    assert_eq!(wire.get("/T/1").reply().status, 200, "the connection goes on");
    let cbor = server.client().request("GET", "/T/").header("accept", "application/cbor").send();
    let list: ciborium::Value = ciborium::from_reader(cbor.body.as_slice()).unwrap();
    assert_eq!(list.as_array().unwrap().len(), RECORDS);
    let rare = server.client().get("/T/?text=ct=y").expect(200);
    assert_eq!(rare.text(), "[]", "a scan that finds nothing ends");
}

#[test]
fn head_of_a_large_list_has_no_body() {
    let server = start();
    let mut wire = server.wire();
    wire.send(
        "HEAD /T/ HTTP/1.1\r\nHost: localhost\r\n\r\nGET /T/1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    assert_eq!(wire.head().unwrap().0, 200);
    assert_eq!(wire.reply().expect(200).json()["id"], 1, "the next answer follows at once");
}

#[test]
fn a_large_list_in_brotli_is_the_same_list() {
    let server = start();
    let plain = server.client().get("/T/?n=3");
    let coded = server.client().request("GET", "/T/?n=3").header("accept-encoding", "br").send();
    assert_eq!(coded.header("content-encoding"), "br");
    assert!(coded.body.len() < plain.body.len() / 4);
    let mut body = Vec::new();
    brotli::BrotliDecompress(&mut coded.body.as_slice(), &mut body).unwrap();
    assert_eq!(body, plain.body);
}

#[test]
fn a_slow_reader_gets_everything_and_others_are_served() {
    let server = start();
    let mut slow = server.wire();
    slow.get("/T/");
    std::thread::sleep(Duration::from_millis(300));
    for _ in 0..20 {
        let client = server.client();
        client.put("/T/5", r#"{"n":100}"#).expect(204);
        client.get("/T/6").expect(200);
    }
    let list: Vec<Value> = serde_json::from_slice(&slow.reply().expect(200).body).unwrap();
    assert_eq!(list.len(), RECORDS);
}

#[test]
fn a_client_that_leaves_in_the_middle_harms_nobody() {
    let server = start();
    for _ in 0..10 {
        let mut wire = server.wire();
        wire.get("/T/").head().unwrap();
        drop(wire);
    }
    let list = server.client().get("/T/?select(id)").expect(200);
    assert_eq!(list.json().as_array().unwrap().len(), RECORDS);
}
