//! `/Table/key.property`: one attribute of one record.

use crate::harness::Home;
use serde_json::json;

const SCHEMA: &str = "
type Dog @table @export { id: ID @primaryKey name: String tags: [String] json: Int note: Any ownerId: ID
  owner: Owner @relationship(from: ownerId) }
type Owner @table @export { id: ID @primaryKey dogs: [Dog] @relationship(to: ownerId) }";

#[test]
fn a_declared_attribute_or_relationship_has_a_path_of_its_own() {
    let server = Home::with_schema(SCHEMA).start();
    let client = server.client();
    let body = r#"{"name":"Rex","tags":["a","b"],"json":7,"note":null,"ownerId":"ann","more":1}"#;
    client.put("/Dog/1", body).expect(204);
    client.put("/Owner/ann", "{}").expect(204);
    client.put("/Dog/2.x", r#"{"name":"dotted"}"#).expect(204);
    for (path, expected) in [
        ("/Dog/1.name", json!("Rex")),
        ("/Dog/1.tags", json!(["a", "b"])),
        ("/Dog/1.json", json!(7)),
        ("/Dog/1.note", json!(null)),
        ("/Dog/1.id", json!("1")),
        ("/Dog/1.owner", json!({"id": "ann"})),
        ("/Owner/ann.dogs", json!([client.get("/Dog/1").json()])),
        ("/Dog/2.x", client.get("/Dog/2%2Ex").json()),
        ("/Dog/2.x.name", json!("dotted")),
    ] {
        assert_eq!(client.get(path).expect(200).json(), expected, "{path}");
    }
    for path in [
        "/Dog/1.more",
        "/Dog/1.nosuch",
        "/Dog/9.name",
        "/Dog/2.x.tags",
        "/Dog/1%2Ename",
        "/Dog/2.x.owner",
    ] {
        client.get(path).expect(404);
    }
    let tag = client.get("/Dog/1.name").header("etag").to_owned();
    assert_ne!(tag, client.get("/Dog/1").header("etag"));
    client.request("GET", "/Dog/1.name").header("if-none-match", &tag).send().expect(304);
    assert!(!client.get("/Dog/1.owner").headers.contains_key("etag"));
    client.get("/Dog/1.name?select(id)").expect(400);
    // a record of that name is meant before a property, and a property is only read
    client.put("/Dog/1.name", r#"{"name":"a record"}"#).expect(204);
    assert_eq!(client.get("/Dog/1").json()["name"], "Rex");
    assert_eq!(client.get("/Dog/1.name").json()["id"], "1.name");
    client.delete("/Dog/1.name").expect(200);
    assert_eq!(client.get("/Dog/1.name").json(), json!("Rex"));
    let cbor = client.request("GET", "/Dog/1.name").header("accept", "application/cbor").send();
    assert_eq!(cbor.body, b"\x63Rex");
}
