//! Answers in every type that is offered: records, lists small and streamed, single values, problems.

use super::SCHEMA;
use crate::harness::{Client, Home, Reply, Server};
use rmpv::Value as MsgPack;
use serde_json::{Value, json};

/// Records that take more than one slice of a query.
const MANY: usize = 1000;

fn start() -> Server {
    Home::with_schema(SCHEMA).start()
}

fn ask(client: &Client, path: &str, accept: &str) -> Reply {
    client.request("GET", path).header("accept", accept).send().expect(200)
}

#[track_caller]
fn msgpack(reply: &Reply) -> MsgPack {
    let mut rest = reply.body.as_slice();
    let value = rmpv::decode::read_value(&mut rest).unwrap();
    assert!(rest.is_empty(), "more than one value: {reply}");
    value
}

fn fill(client: &Client, count: usize) {
    let lines: String = (0..count)
        .map(|n| format!("{{\"id\":\"{n:05}\",\"int\":{n},\"any\":{{\"n\":[{n}]}}}}\n"))
        .collect();
    let ask = client.request("POST", "/T/").body("application/x-ndjson", lines);
    assert_eq!(ask.send().expect(201).json().as_array().unwrap().len(), count);
}

#[test]
fn large_records_are_read_like_small_ones() {
    let server = start();
    let client = server.client();
    let items: Vec<_> = (0..30_000).map(|n| json!({"n": n})).collect();
    let record = json!({"id": "1", "any": items});
    client.put("/T/1", &record.to_string()).expect(204);
    assert!(client.get("/T/1").expect(200).json()["any"] == record["any"]);
    let packed = msgpack(&ask(&client, "/T/1", "application/msgpack"));
    assert_eq!(packed["any"][29_999]["n"], MsgPack::from(29_999));
    let csv = ask(&client, "/T/1", "text/csv").text();
    assert!(csv.contains("{\"\"n\"\":29999}"), "{}", &csv[..100]);
    let tag = ask(&client, "/T/1", "application/cbor").header("etag").to_owned();
    let again = client.request("GET", "/T/1").header("accept", "application/cbor");
    again.header("if-none-match", &tag).send().expect(304);
    client.request("GET", "/T/1").header("if-match", "\"x\"").send().expect(412);
    client.request("GET", "/T/1").header("accept", "image/png").send().expect(406);
}

#[test]
fn a_list_in_csv_has_a_limit_of_columns() {
    let server = start();
    let client = server.client();
    let members: Vec<_> = (0..1100).map(|n| format!("\"m{n}\":{n}")).collect();
    client.put("/T/1", &format!("{{{}}}", members.join(","))).expect(204);
    let refused = client.get("/T/.csv").expect(400);
    assert!(refused.text().contains("more than 1000 attributes"), "{refused}");
    assert_eq!(
        client.get("/T/.csv?select(id,m9)").expect(200).text(),
        "\"id\",\"m9\"\r\n\"1\",9\r\n"
    );
    assert!(
        client.get("/T/1.csv").expect(200).text().contains("\"m1099\""),
        "one record has what it has"
    );
}

#[test]
fn messagepack_keeps_the_types() {
    let server = start();
    let client = server.client();
    let body = r#"{"bytes":"AAH/","big":-36893488147419103232,"date":"2026-01-02T03:04:05.678Z","float":1.5}"#;
    client.put("/T/1", body).expect(204);
    for name in ["application/x-msgpack", "application/msgpack", "application/vnd.msgpack"] {
        let reply = ask(&client, "/T/1", name);
        assert_eq!(reply.header("content-type"), name);
        let record = msgpack(&reply);
        let member = |name: &str| record[name].clone();
        assert_eq!(member("id"), MsgPack::from("1"));
        assert_eq!(member("bytes"), MsgPack::Binary(vec![0, 1, 255]));
        // two's complement of -2^65
        assert_eq!(member("big"), MsgPack::Ext(0x42, [&[0xfe][..], &[0; 8]].concat()));
        assert!(matches!(member("date"), MsgPack::Ext(-1, _)), "{record}");
        // what was read can be written back
        let put = client.request("PUT", "/T/2").body(name, reply.body.clone());
        put.send().expect(204);
        let copy = client.get("/T/2").text();
        assert!(
            copy.contains(
                r#""bytes":"AAH/","big":-36893488147419103232,"date":"2026-01-02T03:04:05.678Z""#
            ),
            "{copy}"
        );
    }
}

#[test]
fn a_list_is_whole_in_every_type_however_long() {
    let server = start();
    let client = server.client();
    for count in [0, 3, MANY] {
        fill(&client, count);
        let packed = msgpack(&ask(&client, "/T/", "application/x-msgpack"));
        assert_eq!(packed.as_array().unwrap().len(), count);
        let yaml: Vec<Value> =
            serde_yaml::from_slice(&ask(&client, "/T/", "text/yaml").body).unwrap();
        let json = ask(&client, "/T/", "application/json").json();
        assert_eq!(yaml, *json.as_array().unwrap());
        let lines = ask(&client, "/T/", "application/x-ndjson").text();
        let lines: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines, yaml);
        let csv = ask(&client, "/T/", "text/csv").text();
        assert_eq!(csv.split("\r\n").count(), count + 2, "a header, the rows, and an end");
        if count > 0 {
            assert!(csv.split("\r\n").nth(count).unwrap().starts_with("\"0"), "{csv}");
            assert_eq!(packed[count - 1]["int"], MsgPack::from(count - 1));
            client.delete("/T/?int=ge=0").expect(200);
        }
    }
}

#[test]
fn csv_has_a_header_of_the_declared_attributes_then_others() {
    let server = start();
    let client = server.client();
    client.put("/T/a", r#"{"int":1,"other":"x \"y\", z","any":{"k":[1]}}"#).expect(204);
    client.put("/T/b", r#"{"float":1.5}"#).expect(204);
    let csv = ask(&client, "/T/?select(id,int,float,any,other)", "text/csv");
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"data.csv\"");
    assert!(csv.header("content-type").starts_with("text/csv"), "{csv}");
    let expected = "\"id\",\"int\",\"float\",\"any\",\"other\"\r\n\
        \"a\",1,,\"{\"\"k\"\":[1]}\",\"x \"\"y\"\", z\"\r\n\"b\",,1.5,,\r\n";
    assert_eq!(csv.text(), expected);
    let whole = ask(&client, "/T/", "text/csv").text();
    assert!(whole.starts_with("\"id\",\"int\",\"float\",\"big\",\"date\","), "{whole}");
    assert!(whole.lines().next().unwrap().ends_with(",\"other\""), "{whole}");
    assert_eq!(ask(&client, "/T/?select(int)", "text/csv").text(), "\"int\"\r\n1\r\n\r\n");
}

#[test]
fn single_values_and_problems_come_in_every_type() {
    let server = start();
    let client = server.client();
    client.put("/T/1", r#"{"int":1}"#).expect(204);
    assert_eq!(ask(&client, "/T/1?select(int)", "text/plain").text(), "1");
    assert_eq!(ask(&client, "/T/1?select(int)", "text/yaml").text(), "1\n");
    assert_eq!(ask(&client, "/T/1?select(id)", "text/plain").text(), "1");
    let form = ask(&client, "/T/1?select(id,int)", "application/x-www-form-urlencoded").text();
    assert_eq!(form, "id=1&int=1");
    let missing =
        |accept| client.request("GET", "/T/0").header("accept", accept).send().expect(404);
    assert_eq!(missing("text/plain").text(), "Not found");
    assert_eq!(missing("application/x-msgpack").header("content-type"), "application/x-msgpack");
    let yaml: Value = serde_yaml::from_slice(&missing("application/yaml").body).unwrap();
    assert_eq!(yaml["status"], json!(404));
}

#[test]
fn an_extension_names_the_type() {
    let server = start();
    let client = server.client();
    client.put("/T/1.json", r#"{"int":1}"#).expect(204);
    let cases = [
        ("json", "application/json"),
        ("cbor", "application/cbor"),
        ("msgpack", "application/x-msgpack"),
        ("csv", "text/csv"),
        ("yaml", "text/yaml"),
        ("ndjson", "application/x-ndjson"),
        ("txt", "text/plain"),
    ];
    for (extension, name) in cases {
        for path in ["/T/1", "/T/", "/T/?int=1"] {
            let path = match path.split_once('?') {
                Some((path, query)) => format!("{path}.{extension}?{query}"),
                None => format!("{path}.{extension}"),
            };
            let reply = ask(&client, &path, "application/cbor");
            assert!(reply.header("content-type").starts_with(name), "{path}: {reply}");
        }
    }
    client.get("/T/1.png").expect(404);
    client.get("/T.csv").expect(404);
}

#[test]
fn each_type_has_a_tag_of_its_own() {
    let server = start();
    let client = server.client();
    client.put("/T/1", "{}").expect(204);
    let names = ["json", "cbor", "msgpack", "csv", "yaml", "ndjson", "txt"];
    let mut tags: Vec<_> = names
        .iter()
        .map(|name| client.get(&format!("/T/1.{name}")).expect(200).header("etag").to_owned())
        .collect();
    for tag in &tags {
        client.request("PUT", "/T/1").header("if-none-match", tag).json("{}").send().expect(412);
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), names.len());
}

#[test]
fn a_messagepack_list_that_would_take_too_much_is_refused() {
    let home = Home::with_schema(SCHEMA);
    let server = home.launch().set("query.heldBytesMax=2000").start();
    let client = server.client();
    fill(&client, MANY);
    let refused = client.request("GET", "/T/").header("accept", "application/msgpack").send();
    let packed = refused.expect(400);
    assert!(String::from_utf8_lossy(&packed.body).contains("limit( )"), "{packed}");
    let few = ask(&client, "/T/?limit(20)", "application/msgpack");
    assert_eq!(msgpack(&few).as_array().unwrap().len(), 20);
    ask(&client, "/T/", "application/cbor");
}
