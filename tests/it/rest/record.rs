//! One record by its key.

use super::start;
use crate::harness::{Client, Reply};
use serde_json::json;

#[test]
fn a_record_is_written_read_changed_and_deleted() {
    let server = start();
    let client = server.client();
    client.get("/Dog/1").expect(404);
    let made = client.put("/Dog/1", r#"{"name":"Rex","age":3}"#).expect(204);
    assert!(made.body.is_empty() && !made.has("content-type"), "{made}");
    let read = client.get("/Dog/1").expect(200);
    assert_eq!(read.text(), r#"{"id":"1","name":"Rex","age":3}"#);
    client.put("/Dog/1", r#"{"name":"Max","extra":[1, {"a": null}]}"#).expect(204);
    assert_eq!(
        client.get("/Dog/1").text(),
        r#"{"id":"1","name":"Max","extra":[1,{"a":null}]}"#,
        "PUT replaces the record and keeps undeclared attributes"
    );
    client.patch("/Dog/1", r#"{"age":4,"extra":null}"#).expect(204);
    assert_eq!(
        client.get("/Dog/1").json(),
        json!({"id": "1", "name": "Max", "extra": null, "age": 4}),
        "PATCH merges, and null is stored as null"
    );
    let deleted = client.delete("/Dog/1").expect(200);
    assert_eq!(deleted.text(), "true");
    client.get("/Dog/1").expect(404);
    assert_eq!(client.delete("/Dog/1").expect(200).text(), "false", "there was nothing");
}

#[test]
fn the_key_of_the_path_wins_over_the_one_in_the_body() {
    let server = start();
    let client = server.client();
    client.put("/Dog/a", r#"{"id":"b","name":"Rex"}"#).expect(204);
    assert_eq!(client.get("/Dog/a").json(), json!({"id": "a", "name": "Rex"}));
    client.get("/Dog/b").expect(404);
    client.patch("/Dog/a", r#"{"id":"c","age":1}"#).expect(204);
    assert_eq!(client.get("/Dog/a").json(), json!({"id": "a", "name": "Rex", "age": 1}));
}

#[test]
fn patch_makes_a_missing_record_and_adds_to_numbers() {
    let server = start();
    let client = server.client();
    let add = |value: &str| format!(r#"{{"age":{{"__op__":"add","value":{value}}}}}"#);
    client.patch("/Dog/new", r#"{"name":"Bo"}"#).expect(204);
    assert_eq!(client.get("/Dog/new").json(), json!({"id": "new", "name": "Bo"}));
    client.patch("/Dog/new", &add("2")).expect(204);
    client.patch("/Dog/new", &add("-1")).expect(204);
    assert_eq!(client.get("/Dog/new").json()["age"], 1);
    let refused = client.patch("/Dog/new", &add("2147483648")).expect(400);
    assert!(refused.error().contains("age would grow out of range"), "{refused}");
    client.patch("/Dog/new", &add("\"2\"")).expect(400);
    assert_eq!(client.get("/Dog/new").json()["age"], 1, "a refused addition changes nothing");
}

#[test]
fn concurrent_additions_are_all_counted() {
    let server = start();
    server.client().put("/Dog/n", r#"{"age":0}"#).expect(204);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let client = server.client();
                for _ in 0..25 {
                    client.patch("/Dog/n", r#"{"age":{"__op__":"add","value":1}}"#).expect(204);
                }
            });
        }
    });
    assert_eq!(server.client().get("/Dog/n").json()["age"], 100);
}

#[test]
fn every_answer_carries_its_headers() {
    let server = start();
    let client = server.client();
    client.put("/Dog/1", r#"{"name":"Rex"}"#).expect(204);
    let cases: [(&str, &str, u16); 6] = [
        ("GET", "/Dog/1", 200),
        ("GET", "/Dog/none", 404),
        ("GET", "/Nope", 404),
        ("OPTIONS", "/Dog/1", 204),
        ("DELETE", "/Dog/2", 200),
        ("GET", "/Dog/?nosuch=1", 400),
    ];
    for (method, path, status) in cases {
        let reply = client.request(method, path).send().expect(status);
        assert_eq!(reply.header("server"), "HarperDB", "{method} {path}");
        assert!(reply.header("server-timing").starts_with("hdb;dur="), "{method} {path}: {reply}");
        assert!(reply.has("date"), "{method} {path}: {reply}");
    }
    let read = client.get("/Dog/1");
    assert_eq!(read.header("content-type"), "application/json");
    assert_eq!(read.header("content-length"), read.body.len().to_string());
    let vary = read.header("vary").to_ascii_lowercase();
    assert!(vary.contains("accept") && vary.contains("accept-encoding"), "{read}");
    assert_eq!(read.header("connection"), "keep-alive");
    assert_eq!(read.header("keep-alive"), "timeout=30");
}

/// Asks for the head and for the whole and compares the headers.
#[track_caller]
fn same_head(client: &Client, path: &str) -> (Reply, Reply) {
    let (head, whole) = (client.request("HEAD", path).send(), client.get(path));
    assert!(head.body.is_empty(), "{path}: {head}");
    assert_eq!(head.status, whole.status, "{path}");
    for name in ["etag", "content-type", "content-length", "vary", "content-encoding"] {
        assert_eq!(head.header(name), whole.header(name), "{path}: {name}");
    }
    (head, whole)
}

#[test]
fn head_is_get_without_the_body() {
    let server = start();
    let client = server.client();
    client.put("/Dog/1", r#"{"name":"Rex"}"#).expect(204);
    for path in ["/Dog/1", "/Dog/1?select(name)", "/Dog", "/Dog/", "/Dog/none", "/Nope", "/Num/x"] {
        let (head, whole) = same_head(&client, path);
        assert_eq!(head.header("content-length"), whole.body.len().to_string(), "{path}");
    }
}

#[test]
fn options_and_405_name_the_methods_there_are() {
    let server = start();
    let client = server.client();
    let record = ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let collection = ["GET", "HEAD", "QUERY", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let description = ["GET", "HEAD", "OPTIONS"];
    let cases: [(&str, &str, &[&str]); 4] = [
        ("/Dog/1", "POST", &record),
        ("/Dog/", "TRACE", &collection),
        ("/Dog", "POST", &description),
        ("/Dog", "PUT", &description),
    ];
    for (path, refused, methods) in cases {
        let options = client.request("OPTIONS", path).send().expect(204);
        assert!(options.body.is_empty());
        let mut allowed: Vec<_> = options.header("allow").split(", ").collect();
        let mut expected = methods.to_vec();
        allowed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(allowed, expected, "{path}");
        let refused = client.request(refused, path).send().expect(405);
        assert_eq!(refused.header("allow"), options.header("allow"), "{path}");
        assert!(refused.error().contains("does not have"), "{refused}");
    }
    for method in ["PURGE", "FROB"] {
        let refused = client.request(method, "/Dog/1").send().expect(501);
        assert_eq!(refused.error(), format!("Method {method} is not recognized"));
    }
}

#[test]
fn a_table_describes_itself() {
    let server = start();
    let client = server.client();
    let description = client.get("/Dog").expect(200).json();
    assert_eq!(description["name"], "Dog");
    assert_eq!(description["database"], "data");
    assert_eq!(description["records"], "./");
    let attributes = description["attributes"].as_array().unwrap();
    assert_eq!(attributes[0], json!({"name": "id", "type": "ID", "isPrimaryKey": true}));
    assert_eq!(attributes[1], json!({"name": "name", "type": "String", "indexed": {}}));
    assert_eq!(attributes[3], json!({"name": "tags", "type": "[String]"}));
}

#[test]
fn exported_names_are_case_sensitive_and_nothing_else_is_visible() {
    let server = start();
    let client = server.client();
    client.put("/nice/path/1", "{}").expect(204);
    client.get("/nice/path/1").expect(200);
    for path in
        ["/Nice/1", "/nice/1", "/nice/path2/1", "/dog/1", "/Hidden/", "/Hidden/1", "/", "/Dogs/"]
    {
        let missing = client.get(path).expect(404);
        assert_eq!(missing.error(), "Not found", "{path}");
    }
}

#[test]
fn a_path_is_the_same_however_it_is_encoded() {
    let server = start();
    let client = server.client();
    client.put("/Dog/1", "{}").expect(204);
    client.get("/D%6Fg/1").expect(200);
    let made = client.post("/a%20b/%C3%BC/", r#"{"id":"x"}"#).expect(201);
    assert_eq!(made.header("location"), "/a%20b/%C3%BC/x");
    client.get(made.header("location")).expect(200);
    client.get("/Dog%2F1").expect(404);
}

#[test]
fn times_are_written_by_the_server() {
    let server = start();
    let client = server.client();
    client.put("/Timed/1", r#"{"name":"a"}"#).expect(204);
    let first = client.get("/Timed/1").json();
    let (created, updated) =
        (first["created"].as_str().unwrap(), first["updated"].as_u64().unwrap());
    assert!(created.ends_with('Z') && created.contains('T'), "{first}");
    assert!(updated > 1_700_000_000_000, "{first}");
    std::thread::sleep(std::time::Duration::from_millis(5));
    client.patch("/Timed/1", r#"{"name":"b","updated":1}"#).expect(204);
    let second = client.get("/Timed/1").json();
    assert_eq!(second["created"], first["created"], "PATCH keeps the time of creation");
    assert!(second["updated"].as_u64().unwrap() > updated, "a client cannot set it: {second}");
    client.put("/Timed/1", r#"{"name":"c"}"#).expect(204);
    assert_eq!(client.get("/Timed/1").json()["created"], first["created"], "PUT keeps it too");
    client.put("/Timed/2", r#"{"created":"2016-01-02T03:04:05Z"}"#).expect(204);
    assert_eq!(client.get("/Timed/2").json()["created"], "2016-01-02T03:04:05.000Z");
    let refused = client.put("/Timed/3", r#"{"created":"yesterday"}"#).expect(400);
    assert!(refused.error().contains("property created must be a date"), "{refused}");
}

#[test]
fn records_survive_a_restart() {
    let server = start();
    server.client().put("/Dog/1", r#"{"name":"Rex"}"#).expect(204);
    let tag = server.client().get("/Dog/1").header("etag").to_owned();
    let home = server.stop();
    let server = home.start();
    let read = server.client().get("/Dog/1").expect(200);
    assert_eq!(read.text(), r#"{"id":"1","name":"Rex"}"#);
    assert_eq!(read.header("etag"), tag);
    server.client().put("/Dog/1", r#"{"name":"Max"}"#).expect(204);
    assert_ne!(server.client().get("/Dog/1").header("etag"), tag);
}
