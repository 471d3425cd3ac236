//! Computed attributes: seen when asked for, compared, sorted by and indexed.

use crate::harness::{Client, Home};
use serde_json::json;

const SCHEMA: &str = r#"
type Item @table @export {
  id: ID @primaryKey
  price: Float
  rate: Float
  name: String
  total: Float @computed(from: "price * (1 + rate)")
  lower: String @computed(from: "name.toLowerCase()") @indexed
  label: String @computed(from: "`${id}: ${name}`") @enumerable
}
type Plain @table @export { id: ID @primaryKey price: Float double: Float @computed(from: "price * 2") }
"#;

fn fill(client: &Client) {
    let items = json!([
        {"id": "1", "price": 100, "rate": 0.25, "name": "Lamp"},
        {"id": "2", "price": 10, "rate": 0.5, "name": "CHAIR"},
        {"id": "3", "price": 50, "rate": 0, "name": "desk", "extra": true},
        {"id": "4"},
    ]);
    client.put("/Item/", &items.to_string()).expect(204);
}

fn ids(client: &Client, query: &str) -> Vec<String> {
    let all = client.get(&format!("/Item/?{query}")).expect(200).json();
    all.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_computed_attribute_is_shown_when_asked_for_or_enumerable() {
    let home = Home::with_schema(SCHEMA);
    let server = home.start();
    let client = server.client();
    fill(&client);
    let expected = json!({"id": "3", "price": 50, "rate": 0, "name": "desk", "extra": true, "label": "3: desk"});
    assert_eq!(client.get("/Item/3").expect(200).json(), expected);
    assert_eq!(client.get("/Item/?id=3").json(), json!([expected]));
    assert_eq!(client.get("/Item/1?select(total)").expect(200).json(), 125.0);
    assert_eq!(client.get("/Item/1?select(id,total)").json(), json!({"id": "1", "total": 125}));
    assert_eq!(client.get("/Item/1.total").expect(200).json(), 125.0);
    assert_eq!(client.get("/Item/?id=2&select([lower,total])").json(), json!([["chair", 15]]));
    client.put("/Plain/1", r#"{"price":4}"#).expect(204);
    assert_eq!(client.get("/Plain/1").text(), r#"{"id":"1","price":4}"#);
    let about = client.get("/Item").json();
    let total = about["attributes"].as_array().unwrap().iter().find(|a| a["name"] == "total");
    assert_eq!(total.unwrap()["computed"]["from"], "price * (1 + rate)");
}

#[test]
fn computed_attributes_are_compared_and_sorted_by() {
    let home = Home::with_schema(SCHEMA);
    let server = home.start();
    let client = server.client();
    fill(&client);
    assert_eq!(ids(&client, "total=gt=40"), ["1", "3"]);
    assert_eq!(ids(&client, "total=15"), ["2"]);
    assert_eq!(ids(&client, "lower=chair"), ["2"]);
    assert_eq!(ids(&client, "lower=sw=d|lower=sw=l"), ["3", "1"]);
    assert_eq!(ids(&client, "id=le=3&sort(-total)"), ["1", "3", "2"]);
    assert_eq!(ids(&client, "lower=gt=a&sort(lower)"), ["2", "3", "1"]);
    client.patch("/Item/2", r#"{"name":"Zebra"}"#).expect(204);
    assert_eq!(ids(&client, "lower=zebra"), ["2"]);
    assert_eq!(ids(&client, "lower=chair"), [""; 0]);
    client.delete("/Item/?total=gt=100").expect(200);
    client.get("/Item/1").expect(404);
}

#[test]
fn a_failing_expression_is_null_and_a_computed_attribute_cannot_be_written() {
    let home = Home::with_schema(SCHEMA);
    let server = home.start();
    let client = server.client();
    fill(&client);
    assert_eq!(client.get("/Item/4?select(lower)").expect(200).text(), "null");
    assert!(server.metric("harper_computed_failed_total") >= 1.0);
    for (method, path) in [("PUT", "/Item/1"), ("PATCH", "/Item/1"), ("POST", "/Item/")] {
        let refused = client.request(method, path).json(r#"{"total":1}"#).send().expect(400);
        assert!(refused.error().contains("Computed property total"), "{refused}");
    }
}

#[test]
fn a_new_expression_holds_for_the_records_there_are() {
    let home = Home::with_schema(SCHEMA);
    let server = home.start();
    fill(&server.client());
    let tag = server.client().get("/Item/1").header("etag").to_owned();
    server.stop();
    let changed = SCHEMA.replace("toLowerCase", "toUpperCase").replace("${id}: ", "");
    home.write("app/schema.graphql", changed);
    let server = home.start();
    let client = server.client();
    assert_eq!(ids(&client, "lower=CHAIR"), ["2"]);
    assert_eq!(ids(&client, "lower=chair"), [""; 0]);
    let known = client.request("GET", "/Item/1").header("if-none-match", &tag).send().expect(200);
    assert_eq!(known.json()["label"], "Lamp");
}

const SLOW: &str = r#"
type C @table @export {
  id: ID @primaryKey
  a: String
  slow: Int @computed(from: "(() => { let n = 0; while (a === 'bad') n++; return n })()") INDEXED
}"#;

#[test]
fn a_record_that_breaks_a_limit_is_refused_by_an_index_and_harms_no_other() {
    let home = Home::with_schema(&SLOW.replace("INDEXED", "@indexed"));
    let server = home.launch().set("threads.count=1").start();
    let client = server.client();
    let refused = client.put("/C/bad", r#"{"a":"bad"}"#).expect(400);
    let sentence = "Computed property slow is indexed and cannot be evaluated: \
                    it took more than 20 ms of processor time";
    assert_eq!(refused.error(), sentence);
    client.put("/C/", r#"[{"id":"1","a":"ok"},{"id":"2","a":"ok"}]"#).expect(204);
    client.put("/C/", r#"[{"id":"3"},{"id":"4","a":"bad"}]"#).expect(400);
    assert_eq!(client.get("/C/?slow=0&select(id)").json(), json!(["1", "2"]));
    assert_eq!(client.get("/C/?slow==null").text(), "[]");
    let reason = "harper_rejected_total{reason=\"computed_value\"}";
    assert_eq!(server.metric(reason), 2.0);
}

#[test]
fn a_value_that_is_not_known_has_no_tag_and_hides_no_other() {
    let home = Home::with_schema(&SLOW.replace("INDEXED", "@enumerable"));
    let server = home.launch().set("threads.count=1").start();
    let client = server.client();
    client.put("/C/", r#"[{"id":"bad","a":"bad"},{"id":"ok","a":"ok"}]"#).expect(204);
    for path in ["/C/bad", "/C/bad?select(id,slow)", "/C/bad.slow"] {
        let reply = client.get(path).expect(200);
        assert!(reply.text().contains("null"), "{reply}");
        assert!(!reply.has("etag") && !reply.has("last-modified"), "{reply}");
        assert_eq!(reply.header("cache-control"), "no-store");
        let other = client.get(&path.replace("bad", "ok")).expect(200);
        assert!(other.text().contains('0') && other.has("etag"), "{other}");
    }
    assert_eq!(client.get("/C/?slow==null&select(id)").text(), "[]");
    assert_eq!(client.get("/C/?slow=ge=0&select(id)").json(), json!(["ok"]));
    server.stop();
    // no index can be made while the record is there
    home.write("app/schema.graphql", SLOW.replace("INDEXED", "@indexed"));
    let refused = home.launch().fail();
    let message = crate::harness::server::text(&refused.stderr);
    assert!(message.contains("the key \"bad\"") && message.contains("20 ms"), "{message}");
}

#[test]
fn what_was_stored_before_an_attribute_was_computed_is_not_shown_and_goes_with_the_next_write() {
    let schema =
        |b: &str| format!("type F @table @export {{ id: ID @primaryKey a: String b: String {b} }}");
    let home = Home::with_schema(&schema(""));
    let server = home.start();
    server
        .client()
        .put("/F/", r#"[{"id":"1","a":"rex","b":"old"},{"id":"2","b":"old"}]"#)
        .expect(204);
    server.stop();
    home.write("app/schema.graphql", schema("@computed(from: \"a + 1\") @enumerable"));
    let server = home.start();
    let client = server.client();
    assert_eq!(client.get("/F/1").text(), r#"{"id":"1","a":"rex","b":"rex1"}"#);
    assert_eq!(client.get("/F/?id=1").text(), r#"[{"id":"1","a":"rex","b":"rex1"}]"#);
    server.stop();
    home.write("app/schema.graphql", schema("@computed(from: \"a + 1\")"));
    let server = home.start();
    let client = server.client();
    assert_eq!(client.get("/F/1").text(), r#"{"id":"1","a":"rex"}"#);
    assert_eq!(client.get("/F/").text(), r#"[{"id":"1","a":"rex"},{"id":"2"}]"#);
    client.patch("/F/1", r#"{"a":"max"}"#).expect(204);
    server.stop();
    home.write("app/schema.graphql", schema(""));
    let server = home.start();
    assert_eq!(server.client().get("/F/1").text(), r#"{"id":"1","a":"max"}"#);
    assert_eq!(server.client().get("/F/2").text(), r#"{"id":"2","b":"old"}"#, "it was not written");
}
