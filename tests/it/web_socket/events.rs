//! What is told over a socket: the events of the records, in the type that was asked for.

use super::client::{BINARY, COMPRESSED, FIN, TEXT, WebSocket};
use super::{launch, start};
use crate::harness::eventually;
use serde_json::{Value, json};

const DEFLATE: (&str, &str) =
    ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");

#[test]
fn a_socket_has_the_records_that_are_there_and_then_what_happens() {
    let server = start();
    let client = server.client();
    client.put("/Dog/1", r#"{"name":"Rex","age":3}"#).expect(204);
    client.put("/Dog/a/b", r#"{"name":"Max"}"#).expect(204);
    let mut all = WebSocket::open(&server, "/Dog/", &[]);
    let mut folder = WebSocket::open(&server, "/Dog/a/", &[]);
    let mut one = WebSocket::open(&server, "/Dog/1", &[]);
    let mut none = WebSocket::open(&server, "/Dog/none", &[]);
    let first = all.event();
    assert_eq!(first["value"], json!({"id": "1", "name": "Rex", "age": 3}));
    assert_eq!((first["id"].as_str(), first["type"].as_str()), (Some("1"), Some("put")));
    assert!(first["version"].as_f64().unwrap() > 1.6e12, "{first}");
    assert_eq!(first["localTime"], first["version"]);
    assert_eq!(all.short(), "put a/b");
    assert_eq!((folder.short(), one.short()), ("put a/b".into(), "put 1".into()));
    client.patch("/Dog/1", r#"{"age":4}"#).expect(204);
    client.put("/Dog/none", "{}").expect(204);
    client.delete("/Dog/a/b").expect(200);
    let changed = all.event();
    assert_eq!(changed["value"], json!({"id": "1", "name": "Rex", "age": 4}), "the whole record");
    assert_eq!(all.short(), "put none");
    let deleted = all.event();
    assert_eq!((deleted["type"].as_str(), deleted.get("value")), (Some("delete"), None));
    assert_eq!(one.event(), changed);
    assert_eq!(none.short(), "put none");
    assert_eq!(folder.event(), deleted);
}

#[test]
fn a_query_chooses_cuts_and_says_from_when_on() {
    let server = start();
    let client = server.client();
    for (key, age) in [("1", 3), ("2", 9), ("3", 7)] {
        client
            .put(&format!("/Dog/{key}"), &format!(r#"{{"name":"n{key}","age":{age}}}"#))
            .expect(204);
    }
    let mut old = WebSocket::open(&server, "/Dog/?age=gt=5&select(id,name)", &[]);
    let mut values = [old.event(), old.event()].map(|event| event["value"].clone());
    values.sort_by_key(Value::to_string);
    assert_eq!(values, [json!({"id": "2", "name": "n2"}), json!({"id": "3", "name": "n3"})]);
    let mut last = WebSocket::open(&server, "/Dog/?previousCount=1", &[]);
    assert_eq!(last.short(), "put 3");
    client.put("/Dog/2", r#"{"age":1}"#).expect(204);
    assert_eq!(old.short(), "delete 2", "it is none of those any more");
    assert_eq!(last.short(), "put 2");
}

#[test]
fn events_come_in_the_type_that_was_asked_for() {
    let server = start();
    let record = r#"{"name":"Rex","born":"2020-01-02T03:04:05.000Z","tag":"aGk="}"#;
    server.client().put("/Dog/1", record).expect(204);
    let open = |target, accept| WebSocket::open(&server, target, &[("Accept", accept)]);
    let frame = open("/Dog/1", "application/cbor").frame();
    assert_eq!(frame.first, FIN | BINARY);
    let event: ciborium::Value = ciborium::from_reader(&frame.payload[..]).unwrap();
    let get = |value: &ciborium::Value, name: &str| {
        let members = value.as_map().unwrap();
        members.iter().find(|(key, _)| key.as_text() == Some(name)).unwrap().1.clone()
    };
    assert_eq!(get(&event, "id").as_text(), Some("1"));
    let value = get(&event, "value");
    assert_eq!(get(&value, "tag").as_bytes().map(Vec::as_slice), Some(&b"hi"[..]));
    assert!(matches!(get(&value, "born"), ciborium::Value::Tag(..)), "{value:?}");
    let frame = open("/Dog/1", "application/x-msgpack").frame();
    assert_eq!(frame.first, FIN | BINARY);
    let event = rmpv::decode::read_value(&mut &frame.payload[..]).unwrap();
    assert_eq!(event["value"]["name"].as_str(), Some("Rex"));
    let frame = open("/Dog/1.yaml", "*/*").frame();
    assert_eq!(frame.first, FIN | TEXT);
    let event: Value = serde_yaml::from_slice(&frame.payload).unwrap();
    assert_eq!(event["value"]["name"], "Rex");
    assert_eq!(open("/Dog/1", "text/html, */*;q=0.1").event()["value"]["name"], "Rex");
}

#[test]
fn long_messages_are_compressed_for_who_offers_it() {
    let server = start();
    let client = server.client();
    let mut packed = WebSocket::open(&server, "/Dog/", &[DEFLATE]);
    let mut plain = WebSocket::open(&server, "/Dog/", &[]);
    let narrow = ("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=9");
    let mut narrow = WebSocket::open(&server, "/Dog/", &[narrow]);
    let answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(packed.header("sec-websocket-extensions"), answer);
    assert_eq!(
        narrow.header("sec-websocket-extensions"),
        format!("{answer}; server_max_window_bits=9")
    );
    for (size, is_compressed) in [(10, false), (5000, true), (5000, true), (100_000, false)] {
        let body = json!({"name": "xy".repeat(size / 2)}).to_string();
        client.put("/Dog/1", &body).expect(204);
        let expected = plain.frame();
        let frame = packed.frame();
        assert_eq!(frame.first & COMPRESSED != 0, is_compressed, "{size}");
        if is_compressed {
            assert!(frame.payload.len() < size / 10);
            assert_eq!(inflated(&frame.payload), expected.payload);
        } else {
            assert_eq!(frame, expected);
        }
        assert_eq!(narrow.frame(), expected, "its window is too small for what is worth it");
    }
    // what clients send is read, compressed or not, and has no meaning to a table
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    packed.send(FIN | COMPRESSED | TEXT, &hello).send(FIN | TEXT, b"Hello");
    eventually("both", || {
        let count = server.metric("harper_websocket_messages_total{direction=\"received\"}");
        (count == 2.0).then_some(())
    });
    let received = "harper_websocket_bytes_total{direction=\"received\"}";
    assert_eq!(server.metric(received), 10.0, "decompressed");
    let server = launch().set("http.webSocket.compression=false").start();
    let socket = WebSocket::open(&server, "/Dog/", &[DEFLATE]);
    assert_eq!(socket.header("sec-websocket-extensions"), "");
}

fn inflated(payload: &[u8]) -> Vec<u8> {
    let whole = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut out = Vec::with_capacity(1 << 20);
    let mut inflate = flate2::Decompress::new(false);
    inflate.decompress_vec(&whole, &mut out, flate2::FlushDecompress::Sync).unwrap();
    out
}

#[test]
fn nothing_is_lost_to_a_client_that_is_slow() {
    let server = launch().set("realtime.outboxBytesMax=64K").start();
    let mut slow = WebSocket::open(&server, "/Dog/", &[]);
    let name = "x".repeat(20_000);
    // more than the buffers of both sockets and the outbox hold
    for id in 0..600 {
        let body = format!(r#"{{"name":"{name}","age":{id}}}"#);
        server.client().put(&format!("/Dog/{id}"), &body).expect(204);
    }
    for id in 0..600 {
        assert_eq!(slow.event()["value"]["age"], id);
    }
    assert!(server.metric("harper_realtime_catch_ups_total{scope=\"subscription\"}") > 0.0);
}
