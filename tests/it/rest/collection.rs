//! The collection: listing, creating, replacing, changing and deleting many.

use super::start;
use serde_json::json;

#[test]
fn a_collection_lists_its_records_in_key_order() {
    let server = start();
    let client = server.client();
    assert_eq!(client.get("/Dog/").expect(200).text(), "[]");
    for key in ["b", "a", "c"] {
        client.put(&format!("/Dog/{key}"), r#"{"age":1}"#).expect(204);
    }
    let list = client.get("/Dog/").expect(200);
    assert_eq!(list.text(), r#"[{"id":"a","age":1},{"id":"b","age":1},{"id":"c","age":1}]"#);
    assert!(!list.has("etag") && !list.has("last-modified"), "{list}");
    assert_eq!(list.header("content-type"), "application/json");
    assert_eq!(
        client.get("/Dog?select(id)").text(),
        r#"["a","b","c"]"#,
        "a query makes it the collection without the slash too"
    );
    client.get("/Dog//").expect(200);
}

#[test]
fn post_creates_and_never_overwrites() {
    let server = start();
    let client = server.client();
    let made = client.post("/Dog/", r#"{"id":"x","name":"first"}"#).expect(201);
    assert_eq!((made.text().as_str(), made.header("location")), (r#""x""#, "/Dog/x"));
    let refused = client.post("/Dog/", r#"{"id":"x","name":"second"}"#).expect(409);
    assert!(refused.error().contains("exists"), "{refused}");
    assert_eq!(client.get("/Dog/x").json()["name"], "first");
    let many = client.post("/Dog/", r#"[{"id":"y"},{"name":"generated"}]"#).expect(201);
    let keys = many.json();
    assert_eq!(keys[0], "y");
    assert_eq!(keys[1].as_str().unwrap().len(), 36);
    assert!(!many.has("location"), "there is more than one: {many}");
}

#[test]
fn an_array_is_written_whole_or_not_at_all() {
    let server = start();
    let client = server.client();
    client.put("/Dog/taken", r#"{"name":"old"}"#).expect(204);
    let cases = [
        ("POST", r#"[{"id":"n1"},{"id":"taken"}]"#, 409, "exists"),
        ("POST", r#"[{"id":"n1"},{"id":"n2","age":"x"}]"#, 400, "Record 2: "),
        ("PUT", r#"[{"id":"n1"},{"name":"no key"}]"#, 400, "Record 2 has no id"),
        ("PUT", r#"[{"id":"n1"},{"id":"n2","name":5}]"#, 400, "Record 2: "),
        ("PATCH", r#"[{"id":"n1"},{"id":"n2","name":5}]"#, 400, "Record 2: "),
        ("PATCH", r#"[{"id":"n1"},{"age":1}]"#, 400, "Record 2 has no id"),
        ("PUT", r#"[{"id":"n1"},7]"#, 400, "Record 2: "),
        ("PUT", r#"[{"id":"n1"}"#, 400, "not valid JSON"),
    ];
    for (method, body, status, part) in cases {
        let refused = client.request(method, "/Dog/").json(body).send().expect(status);
        assert!(refused.error().contains(part), "{method} {body}: {refused}");
        assert_eq!(client.get("/Dog/?select(id)").text(), r#"["taken"]"#, "{method} {body}");
    }
    assert_eq!(client.get("/Dog/taken").json()["name"], "old");
}

#[test]
fn put_and_patch_write_under_the_keys_of_the_bodies() {
    let server = start();
    let client = server.client();
    client.put("/Dog/", r#"{"id":"one","name":"a","age":1}"#).expect(204);
    client.put("/Dog/", r#"[{"id":"two","age":2},{"id":"three","age":3}]"#).expect(204);
    client.patch("/Dog/", r#"{"id":"one","age":10}"#).expect(204);
    let add = r#"[{"id":"two","age":{"__op__":"add","value":1}},{"id":"new","age":0}]"#;
    client.patch("/Dog/", add).expect(204);
    assert_eq!(
        client.get("/Dog/").json(),
        json!([
            {"id": "new", "age": 0},
            {"id": "one", "name": "a", "age": 10},
            {"id": "three", "age": 3},
            {"id": "two", "age": 3},
        ])
    );
    client.put("/Dog/", "[]").expect(204);
    let refused = client.put("/Dog/", r#"{"name":"no key"}"#).expect(400);
    assert!(refused.error().contains("id"), "{refused}");
    client.patch("/Dog/", r#"{"age":1}"#).expect(400);
}

#[test]
fn delete_needs_a_condition_and_deletes_what_meets_it() {
    let server = start();
    let client = server.client();
    for age in 0..10 {
        client.put(&format!("/Dog/{age}"), &format!(r#"{{"age":{age}}}"#)).expect(204);
    }
    let count = || client.get("/Dog/?select(id)").json().as_array().unwrap().len();
    for path in ["/Dog/", "/Dog/?", "/Dog/?limit(5)", "/Dog/?sort(age)", "/Dog/?select(id)"] {
        let refused = client.delete(path).expect(400);
        assert!(refused.error().contains("needs a condition"), "{path}: {refused}");
        assert_eq!(count(), 10, "{path}");
    }
    client.delete("/Dog").expect(405);
    assert_eq!(client.delete("/Dog/?age=lt=3").expect(200).text(), "true");
    assert_eq!(count(), 7);
    assert_eq!(client.delete("/Dog/?age=lt=3").expect(200).text(), "false");
    assert_eq!(client.delete("/Dog/?age=gt=2&sort(age)&limit(2)").expect(200).text(), "true");
    assert_eq!(
        client.get("/Dog/?select(id)").text(),
        r#"["5","6","7","8","9"]"#,
        "a limit holds for a delete too"
    );
    assert_eq!(client.delete("/Dog/?id=5|id=9").expect(200).text(), "true");
    assert_eq!(client.get("/Dog/?select(id)").text(), r#"["6","7","8"]"#);
}

#[test]
fn deletes_of_many_records_leave_none() {
    let server = start();
    let client = server.client();
    let body: Vec<_> = (0..2500).map(|id| json!({"id": format!("{id}"), "age": id % 2})).collect();
    client.put("/Dog/", &json!(body).to_string()).expect(204);
    assert_eq!(client.delete("/Dog/?age=1").expect(200).text(), "true");
    let left = client.get("/Dog/?select(age)").json();
    assert_eq!(left.as_array().unwrap().len(), 1250);
    assert!(left.as_array().unwrap().iter().all(|age| age == 0));
    assert_eq!(client.get("/Dog/?age=1").text(), "[]", "the index forgets them too");
}
