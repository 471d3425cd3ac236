//! `QUERY` with the query as its body, and the methods that there are not.

use crate::harness::{Client, Home, Reply};
use serde_json::json;

const SCHEMA: &str = "
type Dog @table @export { id: ID @primaryKey name: String @indexed age: Int @indexed ownerId: ID @indexed
  owner: Owner @relationship(from: ownerId) }
type Owner @table @export { id: ID @primaryKey name: String @indexed }";

fn query(client: &Client, path: &str, body: &str) -> Reply {
    client.request("QUERY", path).json(body).send()
}

#[test]
fn a_query_may_be_a_body() {
    let server = Home::with_schema(SCHEMA).start();
    let client = server.client();
    let dogs = json!([
        {"id": "a/1", "name": "Rex", "age": 3, "ownerId": "x"},
        {"id": "a/2", "name": "Bo", "age": 5, "ownerId": "x"},
        {"id": "b/3", "name": "Cy", "age": 7},
    ]);
    client.put("/Dog/", &dogs.to_string()).expect(204);
    client.put("/Owner/x", r#"{"name":"Ann"}"#).expect(204);
    let found = |path: &str, body: &str| query(&client, path, body).expect(200).json();
    assert_eq!(found("/Dog/", "{}"), dogs);
    let old = r#"{"conditions":[{"attribute":"age","comparator":"greater_than","value":3}],"select":"name"}"#;
    assert_eq!(found("/Dog/", old), json!(["Bo", "Cy"]));
    let joined = r#"{"operator":"or","conditions":[{"attribute":"owner.name","value":"Ann"},
        {"attribute":"age","comparator":"between","value":[6,8]}],
        "sort":{"attribute":"age","descending":true},"offset":1,"limit":5,"select":["id",{"name":"owner","select":["name"]}]}"#;
    assert_eq!(
        found("/Dog/", joined),
        json!([{"id": "a/2", "owner": {"name": "Ann"}}, {"id": "a/1", "owner": {"name": "Ann"}}])
    );
    assert_eq!(found("/Dog/a/", r#"{"select":"name"}"#), json!(["Rex", "Bo"]));
    let plan = found("/Dog/", r#"{"conditions":[{"attribute":"age","value":3}],"explain":true}"#);
    assert_eq!(plan["reads"][0]["index"], "age");
    let wrong =
        query(&client, "/Dog/", r#"{"conditions":[{"attribute":"age","value":"x"}]}"#).expect(400);
    assert!(wrong.error().contains("conditions[0]: Invalid value for attribute age"), "{wrong}");
    query(&client, "/Dog/", "[").expect(400);
    query(&client, "/Dog/?age=3", "{}").expect(400);
    query(&client, "/Dog/a/1", "{}").expect(405);
    let refused = query(&client, "/Dog", "{}").expect(405);
    assert!(refused.header("allow").contains("GET"));
    let cbor = [0xa1, 0x65, b'l', b'i', b'm', b'i', b't', 0x01];
    let reply = client.request("QUERY", "/Dog/").body("application/cbor", cbor).send();
    assert_eq!(reply.expect(200).json().as_array().unwrap().len(), 1);
    assert!(server.metric("harper_http_requests_total{method=\"QUERY\",code=\"200\"}") >= 5.0);
}

#[test]
fn methods_that_a_table_does_not_have_are_named() {
    let server = Home::with_schema(SCHEMA).start();
    let client = server.client();
    for method in ["COPY", "MOVE"] {
        for path in ["/Dog/", "/Dog/1"] {
            let refused = client.request(method, path).send().expect(405);
            assert!(refused.header("allow").contains("GET"), "{refused}");
        }
    }
    client.request("PURGE", "/Dog/1").send().expect(501);
    let options = client.request("OPTIONS", "/Dog/").send().expect(204);
    assert!(options.header("allow").contains("QUERY"));
}
