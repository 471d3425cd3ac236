//! Media types both ways. Here: CBOR, with the types that JSON does not have.

mod binary;
mod bodies;
mod formats;

use crate::harness::{Client, Home, Reply, Server};
use ciborium::{Value, cbor};

const SCHEMA: &str = "
type T @table @export {
  id: ID @primaryKey
  int: Int
  float: Float
  big: BigInt @indexed
  date: Date @indexed
  bytes: Bytes
  dates: [Date]
  any: Any
  made: Date @createdTime
}";

fn start() -> Server {
    Home::with_schema(SCHEMA).start()
}

fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

#[track_caller]
fn decode(reply: &Reply) -> Value {
    assert_eq!(reply.header("content-type"), "application/cbor", "{reply}");
    let mut rest = reply.body.as_slice();
    let value = ciborium::from_reader(&mut rest).unwrap();
    assert!(rest.is_empty(), "more than one item: {reply}");
    value
}

#[track_caller]
fn read(client: &Client, path: &str) -> Value {
    let ask = client.request("GET", path).header("accept", "application/cbor");
    decode(&ask.send().expect(200))
}

#[track_caller]
fn write(client: &Client, method: &str, path: &str, value: &Value) -> Reply {
    client.request(method, path).body("application/cbor", encode(value)).send()
}

fn member(record: &Value, name: &str) -> Value {
    let members = record.as_map().unwrap();
    members.iter().find(|(key, _)| key.as_text() == Some(name)).unwrap().1.clone()
}

#[test]
fn typed_values_come_back_as_they_were_sent() {
    let server = start();
    let client = server.client();
    let text = |text: &str| Value::Text(text.into());
    let date = |text: &str| Value::Tag(0, Box::new(Value::Text(text.into())));
    // 2^70, and -1 - 2^70
    let large = |tag| Value::Tag(tag, Box::new(Value::Bytes([&[0x40][..], &[0; 8]].concat())));
    let cases = [
        ("int", Value::from(-7), Value::from(-7)),
        ("float", Value::Float(1.5), Value::Float(1.5)),
        ("big", Value::from(5), Value::from(5)),
        ("big", Value::from(u64::MAX), Value::Tag(2, Box::new(Value::Bytes(vec![255; 8])))),
        ("big", large(2), large(2)),
        ("big", large(3), large(3)),
        ("bytes", Value::Bytes(vec![0, 1, 255]), Value::Bytes(vec![0, 1, 255])),
        ("bytes", Value::Bytes(Vec::new()), Value::Bytes(Vec::new())),
        ("date", date("2026-01-02T03:04:05.678Z"), date("2026-01-02T03:04:05.678Z")),
        ("date", Value::Tag(1, Box::new(Value::from(0))), date("1970-01-01T00:00:00.000Z")),
        ("date", Value::Tag(1, Box::new(Value::Float(0.5))), date("1970-01-01T00:00:00.500Z")),
        ("dates", Value::Array(vec![date("2026-01-02")]), Value::Array(vec![date("2026-01-02")])),
        (
            "any",
            cbor!({"a" => [null, true, "x"]}).unwrap(),
            cbor!({"a" => [null, true, "x"]}).unwrap(),
        ),
    ];
    for (name, sent, expected) in cases {
        let body = Value::Map(vec![(text(name), sent.clone())]);
        write(&client, "PUT", "/T/1", &body).expect(204);
        let record = read(&client, "/T/1");
        let found = member(&record, name);
        let is_same_number =
            found.as_integer().is_some() && found.as_integer() == expected.as_integer();
        let is_u64 = sent == Value::from(u64::MAX) && found == sent;
        assert!(
            found == expected || is_same_number || is_u64,
            "{name}: {sent:?} came back as {found:?}"
        );
        assert!(matches!(member(&record, "made"), Value::Tag(0, _)), "{record:?}");
    }
}

#[test]
fn what_was_written_in_one_type_is_read_in_the_other() {
    let server = start();
    let client = server.client();
    client
        .put(
            "/T/1",
            r#"{"bytes":"AAH/","big":36893488147419103232,"date":"2026-01-02T03:04:05.678Z"}"#,
        )
        .expect(204);
    let record = read(&client, "/T/1");
    assert_eq!(member(&record, "bytes"), Value::Bytes(vec![0, 1, 255]));
    let bytes = [&[2][..], &[0; 8]].concat();
    assert_eq!(member(&record, "big"), Value::Tag(2, Box::new(Value::Bytes(bytes))));
    assert_eq!(member(&record, "id"), Value::Text("1".into()));
    let body = cbor!({"bytes" => Value::Bytes(vec![1]), "big" => 7}).unwrap();
    write(&client, "PATCH", "/T/1", &body).expect(204);
    let json = client.get("/T/1").text();
    assert!(json.contains(r#""bytes":"AQ==","big":7,"date":"2026-01-02T03:04:05.678Z""#), "{json}");
}

#[test]
fn lists_keys_and_selections_are_cbor_too() {
    let server = start();
    let client = server.client();
    let bodies = cbor!([{"id" => "a", "int" => 1}, {"id" => "b", "int" => 2}]).unwrap();
    let ask = client.request("POST", "/T/").header("accept", "application/cbor");
    let made = ask.body("application/cbor", encode(&bodies)).send().expect(201);
    assert_eq!(decode(&made), cbor!(["a", "b"]).unwrap());
    let list = read(&client, "/T/");
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(member(&list.as_array().unwrap()[1], "int"), Value::from(2));
    assert_eq!(read(&client, "/T/?select(int)"), cbor!([1, 2]).unwrap());
    assert_eq!(read(&client, "/T/?select([id,int])"), cbor!([["a", 1], ["b", 2]]).unwrap());
    assert_eq!(read(&client, "/T/?select(int,)"), cbor!([{"int" => 1}, {"int" => 2}]).unwrap());
    assert_eq!(read(&client, "/T/?int=9"), Value::Array(Vec::new()));
    assert_eq!(read(&client, "/T/a?select(int)"), Value::from(1));
    assert_eq!(member(&read(&client, "/T"), "name"), Value::Text("T".into()));
    let ask = client.request("DELETE", "/T/a").header("accept", "application/cbor");
    assert_eq!(decode(&ask.send().expect(200)), Value::Bool(true));
    let ask = client.request("DELETE", "/T/?int=2").header("accept", "application/cbor");
    assert_eq!(decode(&ask.send().expect(200)), Value::Bool(true));
}

#[test]
fn malformed_cbor_is_refused() {
    let server = start();
    let client = server.client();
    let infinite: [u8; 11] = [0xa1, 0x61, b'a', 0xf9, 0x7c, 0, 0, 0, 0, 0, 0];
    let cases: [(&[u8], &str); 7] = [
        (&[0xa1, 0x61], "not valid CBOR"),
        (&[], "not valid CBOR"),
        (&[0xa0, 0xa0], "more than one CBOR item"),
        (&[0xa1, 0x01, 0x02], "name must be text"),
        (&infinite[..6], "infinity"),
        (&[0x81; 1000], "deeper than 64 levels"),
        (&[0x05], "must be an object"),
    ];
    for (body, part) in cases {
        let refused =
            client.request("PUT", "/T/1").body("application/cbor", body).send().expect(400);
        assert!(refused.error().contains(part), "{body:02x?}: {refused}");
    }
    let body = cbor!({"int" => "text"}).unwrap();
    let refused = write(&client, "PUT", "/T/1", &body).expect(400);
    assert!(refused.error().contains("property int must be"), "{refused}");
    client.get("/T/1").expect(404);
}

#[test]
fn the_preferred_type_is_sent() {
    let server = start();
    let client = server.client();
    client.put("/T/1", "{}").expect(204);
    let cases = [
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/json;q=0.1, application/cbor", "application/cbor"),
        ("application/cbor;q=0.1, application/json;q=0.2", "application/json"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
        ("application/json;q=0, */*", "application/cbor"),
        ("Application/CBOR", "application/cbor"),
    ];
    for (accept, expected) in cases {
        for path in ["/T/1", "/T/", "/T"] {
            let reply = client.request("GET", path).header("accept", accept).send().expect(200);
            assert_eq!(reply.header("content-type"), expected, "{accept} {path}");
        }
    }
    let mut wire = server.wire();
    assert_eq!(wire.get("/T/1").reply().header("content-type"), "application/json", "no Accept");
}
