//! Request bodies of every type that is taken, and their limits.

use crate::harness::{Client, Home, Reply, Server};
use serde_json::{Value, json};

const SCHEMA: &str = "
type Dog @table @export {
  id: ID @primaryKey
  name: String
  age: Int
  good: Boolean
  born: Date
  weight: BigInt
  tags: [String]
  home: Any
  raw: Bytes
}";

fn start() -> Server {
    Home::with_schema(SCHEMA).start()
}

fn send(client: &Client, method: &str, path: &str, kind: &str, body: &str) -> Reply {
    client.request(method, path).body(kind, body).send()
}

#[test]
fn a_record_is_the_same_in_every_type() {
    let server = start();
    let client = server.client();
    let csv = "name,age,good,born,weight,tags,home,raw\r\n\
        \"Rex, \"\"the dog\"\"\",7,true,2020-01-02,36893488147419103232,\"[\"\"a\"\",\"\"b\"\"]\",\"{\"\"x\"\":1}\",aGk=\r\n";
    let form = "name=Rex%2C+%22the+dog%22&age=7&good=true&born=2020-01-02&weight=36893488147419103232\
        &tags=a&tags=b&home=%7B%22x%22%3A1%7D&raw=aGk%3D";
    let json = r#"{"name":"Rex, \"the dog\"","age":7,"good":true,"born":"2020-01-02","weight":36893488147419103232,"tags":["a","b"],"home":{"x":1},"raw":"aGk="}"#;
    client.put("/Dog/json", json).expect(204);
    let expected = client.get("/Dog/json").text().replace("\"json\"", "\"?\"");
    for (kind, body) in [
        ("text/csv", csv),
        ("application/x-www-form-urlencoded", form),
        ("application/x-ndjson", &format!("\n{json}\n")),
    ] {
        send(&client, "PUT", "/Dog/other", kind, body).expect(204);
        let found = client.get("/Dog/other").text().replace("\"other\"", "\"?\"");
        assert_eq!(found, expected, "{kind}");
    }
    let yaml = "name: Rex\nage: 7\ngood: true\ntags: [a, b]\nhome: {x: 1}\n";
    for kind in ["text/yaml", "application/yaml"] {
        send(&client, "PUT", "/Dog/yaml", kind, yaml).expect(204);
        let record = client.get("/Dog/yaml").json();
        let expected =
            json!({"id":"yaml","name":"Rex","age":7,"good":true,"tags":["a","b"],"home":{"x":1}});
        assert_eq!(record, expected);
    }
    send(&client, "PATCH", "/Dog/yaml", "application/merge-patch+json", r#"{"age":8}"#).expect(204);
    assert_eq!(client.get("/Dog/yaml").json()["age"], 8);
}

#[test]
fn lists_are_stored_in_one_transaction() {
    let server = start();
    let client = server.client();
    for (kind, body) in [
        ("text/csv", "id,age\na,1\nb,2\n"),
        ("application/x-ndjson", "{\"id\":\"a\",\"age\":1}\n{\"id\":\"b\",\"age\":2}\n"),
        ("text/yaml", "- {id: a, age: 1}\n- {id: b, age: 2}\n"),
    ] {
        let made = send(&client, "POST", "/Dog/", kind, body).expect(201);
        assert_eq!(made.json(), json!(["a", "b"]), "{kind}");
        assert_eq!(client.get("/Dog/?select([id,age])").json(), json!([["a", 1], ["b", 2]]));
        send(&client, "POST", "/Dog/", kind, body).expect(409);
        client.delete("/Dog/?age=gt=0").expect(200);
    }
    send(&client, "POST", "/Dog/", "text/csv", "id,age\na,1\nb,two\n").expect(400);
    assert_eq!(client.get("/Dog/").json(), json!([]), "all or nothing");
}

#[test]
fn mistakes_are_named_with_their_place() {
    let server = start();
    let client = server.client();
    let form = "application/x-www-form-urlencoded";
    let cases = [
        ("text/csv", "id,age\n1\n", "line: 2"),
        ("text/csv", "id,age\n1,x\n", "Value \"x\" in property age"),
        ("text/csv", "age\n1\n2\n", "2 rows"),
        ("application/x-ndjson", "{\n", "Line 1"),
        ("application/x-ndjson", "{}\n{}\n", "2 lines"),
        ("text/yaml", "a: [1\nb: 2\n", "line"),
        ("text/yaml", "just text", "must be an object"),
        ("text/yaml", "", "must be an object"),
        (form, "age=x", "Value \"x\" in property age"),
        (form, "age=1&age=2", "age is given more than once"),
        ("application/json", "", "not valid JSON"),
        ("application/json", "null", "must be an object"),
        ("application/json", "\"x\"", "must be an object"),
        ("application/json", "{\"a\":1,}", "line 1 column"),
        ("application/json", "{\"home\":[1e999]}", "Value 1e999 in property home"),
        ("text/csv", "home\n1e999\n", "must be a number in range"),
        ("multipart/form-data; boundary=x", "nothing", "not valid multipart"),
    ];
    for (kind, body, part) in cases {
        let refused = send(&client, "PUT", "/Dog/1", kind, body).expect(400);
        assert!(refused.error().contains(part), "{kind} {body:?}: {refused}");
    }
    client.get("/Dog/1").expect(404);
    send(&client, "PUT", "/Dog/1", "multipart/form-data", "x").expect(415);
}

#[test]
fn a_small_body_that_stands_for_a_large_one_is_refused() {
    let home = Home::with_schema(SCHEMA);
    let server = home.launch().set("http.bodyBytesMax=20000").start();
    let client = server.client();
    let wide = format!("{}\n{}", "x".repeat(10_000), "1\n".repeat(1000));
    send(&client, "POST", "/Dog/", "text/csv", &wide).expect(413);
    send(&client, "PUT", "/Dog/1", "application/json", &" ".repeat(20_001)).expect(413);
}

#[test]
fn the_records_of_a_body_have_a_limit() {
    let home = Home::with_schema(SCHEMA);
    let server = home.launch().set("http.bodyRecordsMax=3").start();
    let client = server.client();
    let ids =
        |count: usize| (0..count).map(|id| format!("{{\"id\":\"{id}\"}}")).collect::<Vec<_>>();
    let json = |count| format!("[{}]", ids(count).join(","));
    for (kind, body) in [
        ("application/json", json(4)),
        // what follows is not even looked at
        ("application/json", json(4).replace(']', ",nonsense")),
        ("application/x-ndjson", ids(4).join("\n")),
        ("text/csv", "id\n1\n2\n3\n4\n".to_owned()),
        ("application/yaml", "- id: '1'\n".repeat(4)),
    ] {
        let refused = send(&client, "POST", "/Dog/", kind, &body).expect(413);
        assert!(refused.error().contains("more than 3 records"), "{kind}: {refused}");
    }
    let cbor = [&[0x84][..], &b"\xa1\x62id\x01".repeat(4)].concat();
    client.request("PUT", "/Dog/").body("application/cbor", cbor).send().expect(413);
    assert_eq!(client.get("/Dog/").json(), json!([]));
    client.post("/Dog/", &json(3)).expect(201);
    assert_eq!(server.metric("harper_rejected_total{reason=\"body_parts\"}"), 6.0);
}

#[test]
fn few_bytes_do_not_stand_for_many() {
    let server = start();
    let client = server.client();
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..9 {
        let alias = format!("*a{},", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
    }
    let refused = send(&client, "PUT", "/Dog/1", "application/yaml", &bomb).expect(413);
    assert!(refused.error().contains("bytes of JSON"), "{refused}");
    let members: Vec<_> = (0..=100_000).map(|n| format!("\"{n}\":1")).collect();
    let many = format!("{{{}}}", members.join(","));
    let refused = send(&client, "PUT", "/Dog/1", "application/json", &many).expect(400);
    assert!(refused.error().contains("more than 100000 properties"), "{refused}");
    let wrong = format!("{{\"tags\":[{}]}}", vec!["1"; 100_000].join(","));
    let refused = send(&client, "PUT", "/Dog/1", "application/json", &wrong).expect(400);
    assert!(refused.body.len() < 50_000, "{} bytes of sentences", refused.body.len());
}

#[test]
fn numbers_of_yaml_keep_their_digits() {
    let server = start();
    let client = server.client();
    let put = |body: &str| send(&client, "PUT", "/Dog/1", "application/yaml", body);
    put("weight: 123456789012345678901234567890\nhome: 0x1F\n").expect(204);
    let read = client.request("GET", "/Dog/1").header("accept", "application/yaml").send().text();
    put(&read).expect(204);
    let stored = client.get("/Dog/1").text();
    assert!(stored.contains(r#""weight":123456789012345678901234567890,"home":31"#), "{stored}");
    for number in [".inf", "-.Inf", ".nan"] {
        let refused = put(&format!("name: x\nhome: {number}\n")).expect(400);
        assert!(refused.error().contains("does not have at line 2"), "{refused}");
    }
}

fn multipart(parts: &[(&str, &str)]) -> String {
    let parts = parts.iter().map(|(head, body)| {
        format!("--edge\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}\r\n")
    });
    format!("{}--edge--\r\n", parts.collect::<String>())
}

#[test]
fn the_fields_and_files_of_a_form_are_a_record() {
    let home = Home::with_schema(SCHEMA);
    let server = home.launch().set("http.multipartPartsMax=5").start();
    let client = server.client();
    let kind = "multipart/form-data; boundary=edge";
    let body = multipart(&[
        ("name=\"id\"", "m"),
        ("name=\"age\"", "5"),
        ("name=\"tags\"", "a"),
        ("name=\"tags\"", "b"),
        ("name=\"raw\"; filename=\"x.bin\"\r\nContent-Type: image/png", "hi"),
    ]);
    assert_eq!(send(&client, "POST", "/Dog/", kind, &body).expect(201).json(), json!("m"));
    let record: Value = client.get("/Dog/m").json();
    assert_eq!(record, json!({"id":"m","age":5,"tags":["a","b"],"raw":"aGk="}));
    let more = multipart(&[("name=\"a\"", "1"); 6]);
    send(&client, "POST", "/Dog/", kind, &more).expect(413);
    let counted = server.metric("harper_rejected_total{reason=\"body_parts\"}");
    assert_eq!(counted, 1.0);
}
