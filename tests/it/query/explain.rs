//! `explain()`: how a query is run, and that it is run well.

use crate::harness::Home;
use serde_json::{Value, json};

const SCHEMA: &str = "
type Dog @table @export { id: ID @primaryKey name: String @indexed age: Int @indexed weight: Float ownerId: ID @indexed
  owner: Owner @relationship(from: ownerId) }
type Owner @table @export { id: ID @primaryKey name: String @indexed }";

#[test]
fn a_plan_tells_what_is_read() {
    let server = Home::with_schema(SCHEMA).start();
    let client = server.client();
    let dogs: Vec<_> = (0..3000)
        .map(|id| json!({"id": format!("{id:04}"), "name": format!("n{}", id % 3), "age": id, "weight": id, "ownerId": format!("o{}", id % 100)}))
        .collect();
    client.put("/Dog/", &json!(dogs).to_string()).expect(204);
    let owners: Vec<_> =
        (0..100).map(|id| json!({"id": format!("o{id}"), "name": format!("N{id}")})).collect();
    client.put("/Owner/", &json!(owners).to_string()).expect(204);
    let explain = |query: &str| client.get(&format!("/Dog/?{query}&explain()")).expect(200).json();
    let plan = |query: &str| explain(query)["plan"].as_str().unwrap().to_owned();
    let one = explain("name=n1");
    assert_eq!(
        one["reads"],
        json!([{"index": "name", "extent": "range", "backwards": false, "entries": 1000, "hasMoreEntries": false}])
    );
    assert_eq!(
        (&one["records"], &one["fullScan"], &one["filters"]),
        (&json!(3000), &json!(false), &json!(false))
    );
    assert_eq!(plan("name=n1&age=lt=10"), "index age range, intersect index name range, filter");
    assert_eq!(
        plan("name=n1&sort(-age)&limit(5)"),
        "index age scan backwards, intersect index name range, filter"
    );
    assert_eq!(plan("name=n1&sort(-age)"), "index name range, sort");
    assert_eq!(plan("(name=n1|age=5)"), "union of index name range and index age range");
    let joined = explain("owner.name=N7");
    assert_eq!(joined["plan"], "index ownerId for Owner by (index name range)");
    assert_eq!(joined["reads"][0]["related"]["reads"][0]["entries"], 1);
    let scan = explain("weight=gt=5");
    assert_eq!((&scan["fullScan"], &scan["filters"]), (&json!(true), &json!(true)));
    assert_eq!(scan["reads"][0].get("index"), None);
    // and each finds the same as a scan does
    let count = |query: &str| {
        let list: Value = client.get(&format!("/Dog/?{query}&select(id)")).expect(200).json();
        list.as_array().unwrap().len()
    };
    assert_eq!((count("name=n1&age=lt=10"), count("name=n1&weight=lt=10")), (3, 3));
    assert_eq!((count("name=n1&age=ge=100"), count("name=n1&weight=ge=100")), (967, 967));
    assert_eq!((count("owner.name=N7"), count("owner.name=N7&weight=lt=1000")), (30, 10));
    let first = client.get("/Dog/?name=n1&sort(-age)&limit(2)&select(age)").json();
    assert_eq!(first, json!([2998, 2995]));
}
