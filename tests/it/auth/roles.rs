//! What a role may see and write over REST.

use super::guarded;
use super::operations::{call, start_with};
use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Client, Home, Server};
use serde_json::{Value, json};

const SCHEMA: &str = "type Person @table @export { id: ID @primaryKey name: String @indexed age: Int salary: Int note: String @allow(role: \"boss\") }\n\
    type Badge @table @export @sealed { id: ID @primaryKey name: String color: String }\n\
    type Other @table @export { id: ID @primaryKey }";

/// A server with one user of each of these permissions, named as their roles; two records of Person.
fn start(roles: &[(&str, Value)]) -> Server {
    let (server, admin) = start_with(SCHEMA, &[]);
    for (name, permission) in roles {
        call(&admin, "add_role", json!({"role": name, "permission": permission})).expect(200);
        let user = json!({"username": name, "password": "x", "role": name});
        call(&admin, "add_user", user).expect(200);
    }
    let chef = server.client().login(USERNAME, PASSWORD);
    chef.put("/Person/1", r#"{"name":"Ann","age":30,"salary":100,"note":"n","more":1}"#)
        .expect(204);
    chef.put("/Person/2", r#"{"name":"Bob","age":40,"salary":200}"#).expect(204);
    chef.put("/Badge/1", r#"{"name":"Ann","color":"red"}"#).expect(204);
    server
}

fn of(server: &Server, name: &str) -> Client {
    server.client().login(name, "x")
}

fn table(name: &str, rights: &Value) -> Value {
    json!({"data": {"tables": {name: rights}}})
}

fn attribute(name: &str, read: bool, insert: bool, update: bool) -> Value {
    json!({"attribute_name": name, "read": read, "insert": insert, "update": update})
}

#[test]
fn each_right_opens_its_methods_and_no_others() {
    let one = |right: &str| table("Person", &json!({ right: true }));
    let roles = ["read", "insert", "update", "delete"].map(|right| (right, one(right)));
    let server = start(&roles);
    let anyone = server.client();
    for (method, path, body, allowed) in [
        ("GET", "/Person/1", None, &["read"][..]),
        ("HEAD", "/Person/1", None, &["read"]),
        ("GET", "/Person/", None, &["read"]),
        ("GET", "/Person/?name=Ann", None, &["read"]),
        ("GET", "/Person", None, &["read"]),
        ("PATCH", "/Person/1", Some(r#"{"age":31}"#), &["update"]),
        ("PUT", "/Person/2", Some(r#"{"age":41}"#), &[]),
        ("POST", "/Person/", Some(r#"{"name":"New"}"#), &["insert"]),
        ("DELETE", "/Person/?id=none", None, &[]),
        ("DELETE", "/Person/none", None, &["delete"]),
        ("GET", "/Other/1", None, &[]),
    ] {
        let ask = |client: &Client| {
            let ask = client.request(method, path);
            body.map_or(client.request(method, path), |body| ask.json(body)).send()
        };
        ask(&anyone).expect(401);
        for (name, _) in &roles {
            let reply = ask(&of(&server, name));
            let is_allowed = allowed.contains(name);
            assert_eq!(reply.status == 403, !is_allowed, "{name} {method} {path}: {reply}");
            assert!(is_allowed || method == "HEAD" || !reply.error().is_empty());
        }
    }
    // permission comes before the question whether there is such a method
    assert_eq!(anyone.request("LINK", "/Person/1").send().status, 501);
    anyone.post("/Person", "{}").expect(401);
    of(&server, "read").post("/Person", "{}").expect(403);
    of(&server, "insert").post("/Person", "{}").expect(405);
    anyone.request("OPTIONS", "/Person/1").send().expect(204);
}

#[test]
fn attributes_that_may_not_be_read_are_nowhere_to_be_seen() {
    let rights =
        json!({"read": true, "attribute_permissions": [attribute("name", true, false, false)]});
    let plain = table("Person", &json!({"read": true}));
    let boss = table("Person", &json!({"read": true}));
    let server = start(&[("some", table("Person", &rights)), ("plain", plain), ("boss", boss)]);
    let some = of(&server, "some");
    assert_eq!(some.get("/Person/1").expect(200).json(), json!({"id": "1", "name": "Ann"}));
    let list = some.get("/Person/?sort(name)").expect(200).json();
    assert_eq!(list, json!([{"id": "1", "name": "Ann"}, {"id": "2", "name": "Bob"}]));
    let selected = some.get("/Person/?name=Ann&select(name,salary,more)").expect(200).json();
    assert_eq!(selected, json!([{"name": "Ann"}]));
    assert_eq!(some.get("/Person/?name=Ann&select(salary)").expect(200).json(), json!([null]));
    assert_eq!(some.get("/Person/1?select(salary,id)").expect(200).json(), json!({"id": "1"}));
    for query in [
        "salary=100",
        "name=Ann&salary=gt=50",
        "(name=Ann|(salary=1))",
        "sort(salary)",
        "salary==null",
    ] {
        let refused = some.get(&format!("/Person/?{query}")).expect(403);
        assert!(refused.error().contains("salary"), "{query}: {refused}");
    }
    let names = |reply: Value| -> Vec<String> {
        let attributes = reply["attributes"].as_array().unwrap().iter();
        attributes.map(|attribute| attribute["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(some.get("/Person").expect(200).json()), ["id", "name"]);
    for media in ["application/cbor", "text/csv", "application/x-msgpack", "text/yaml"] {
        let reply = some.request("GET", "/Person/").header("accept", media).send().expect(200);
        let text = reply.text();
        assert!(
            text.contains("Ann") && !text.contains("salary") && !text.contains("more"),
            "{media}: {text}"
        );
    }
    // a field that names its roles is theirs alone
    let of_plain = of(&server, "plain").get("/Person/1").expect(200);
    assert_eq!(
        of_plain.json(),
        json!({"id": "1", "name": "Ann", "age": 30, "salary": 100, "more": 1})
    );
    of(&server, "plain").get("/Person/?note=n").expect(403);
    assert_eq!(of(&server, "boss").get("/Person/1").expect(200).json()["note"], "n");
    // what is seen is another representation
    let tags: Vec<_> = ["some", "plain"]
        .map(|name| of(&server, name).get("/Person/1").header("etag").to_owned())
        .into();
    assert_ne!(tags[0], tags[1]);
    let again = some.request("GET", "/Person/1").header("if-none-match", &tags[0]).send();
    assert_eq!(again.status, 304);
    let other = some.request("GET", "/Person/1").header("if-none-match", &tags[1]).send();
    assert_eq!(other.status, 200);
}

#[test]
fn attributes_that_may_not_be_written_are_refused() {
    let list = [attribute("name", true, true, true), attribute("age", true, true, false)];
    let rights = json!({"read": true, "insert": true, "update": true, "delete": true, "attribute_permissions": list});
    let all = json!({"read": true, "insert": true, "update": true});
    let badge = [attribute("name", true, true, true), attribute("color", true, true, true)];
    let badge =
        json!({"read": true, "insert": true, "update": true, "attribute_permissions": badge});
    let server = start(&[
        ("some", table("Person", &rights)),
        ("all", table("Person", &all)),
        ("badge", table("Badge", &badge)),
    ]);
    let (some, chef) = (of(&server, "some"), server.client().login(USERNAME, PASSWORD));
    let refused = some.patch("/Person/1", r#"{"salary":1}"#).expect(403);
    assert!(refused.error().contains("salary"), "{refused}");
    some.patch("/Person/1", r#"{"age":1}"#).expect(403);
    some.patch("/Person/1", r#"{"salary":{"__op__":"add","value":1}}"#).expect(403);
    some.patch("/Person/1", r#"{"undeclared":1}"#).expect(403);
    some.patch("/Person/1", r#"{"name":"Eve"}"#).expect(204);
    some.post("/Person/", r#"{"name":"New","salary":1}"#).expect(403);
    some.post("/Person/", r#"[{"name":"New"},{"salary":1}]"#).expect(403);
    some.post("/Person/", r#"{"id":"9","name":"New","age":9}"#).expect(201);
    // PUT would take away what the role may not even see
    some.put("/Person/1", r#"{"name":"Gone"}"#).expect(403);
    some.put("/Person/1", r#"{"name":"Gone","salary":0}"#).expect(403);
    some.put("/Person/10", r#"{"name":"Made","age":1}"#).expect(204);
    some.request("PUT", "/Person/").json(r#"[{"id":"1","name":"Gone"}]"#).send().expect(403);
    let kept = chef.get("/Person/1").expect(200).json();
    assert_eq!(
        kept,
        json!({"id": "1", "name": "Eve", "age": 30, "salary": 100, "note": "n", "more": 1})
    );
    // where nothing can be unknown and all is allowed, PUT replaces
    of(&server, "badge").put("/Badge/1", r#"{"name":"New"}"#).expect(204);
    assert_eq!(chef.get("/Badge/1").expect(200).json(), json!({"id": "1", "name": "New"}));
    // a field that names its roles is closed to others in writing too
    of(&server, "all").patch("/Person/1", r#"{"note":"x"}"#).expect(403);
    of(&server, "all").put("/Person/1", r#"{"name":"x"}"#).expect(403);
    some.delete("/Person/?name=Made").expect(200);
    some.delete("/Person/?salary=200").expect(403);
    chef.get("/Person/2").expect(200);
}

#[test]
fn making_and_changing_are_told_apart() {
    let server = start(&[
        ("insert", table("Other", &json!({"insert": true}))),
        ("update", table("Other", &json!({"update": true}))),
    ]);
    let (insert, update) = (of(&server, "insert"), of(&server, "update"));
    assert!(update.put("/Other/1", "{}").expect(403).error().contains("not make"));
    update.patch("/Other/1", r#"{"a":1}"#).expect(403);
    insert.put("/Other/1", "{}").expect(204);
    assert!(insert.put("/Other/1", "{}").expect(403).error().contains("not change"));
    insert.request("PUT", "/Other/").json(r#"[{"id":"1"}]"#).send().expect(403);
    update.patch("/Other/1", r#"{"a":1}"#).expect(204);
    update.put("/Other/1", r#"{"b":1}"#).expect(204);
    // conditions of the client's own still mean what they say
    let absent = insert.request("PUT", "/Other/1").header("if-none-match", "*").json("{}");
    absent.send().expect(412);
    update.request("PUT", "/Other/2").header("if-match", "*").json("{}").send().expect(412);
    update.request("PUT", "/Other/2").header("if-none-match", "*").json("{}").send().expect(403);
}

#[test]
fn an_application_declares_its_roles() {
    let home = Home::with_schema(SCHEMA);
    let config =
        "rest: true\ngraphqlSchema:\n  files: schema.graphql\nroles:\n  files: roles.yaml\n";
    home.write("app/config.yaml", config);
    home.write(
        "app/roles.yaml",
        "reader:\n  super_user: false\n  data:\n    Person:\n      read: true\n",
    );
    let launch = || guarded(&home).set("operationsApi.network.port=127.0.0.1:0");
    let server = launch().start();
    let admin = server.operations().login(USERNAME, PASSWORD);
    call(&admin, "add_user", json!({"username": "ann", "password": "x", "role": "reader"}))
        .expect(200);
    of(&server, "ann").get("/Person/").expect(200);
    of(&server, "ann").get("/Other/").expect(403);
    server.stop();
    home.write("app/roles.yaml", "reader:\n  data:\n    Other:\n      read: true\n");
    let server = launch().start();
    of(&server, "ann").get("/Person/").expect(403);
    of(&server, "ann").get("/Other/").expect(200);
    server.stop();
    home.write("app/roles.yaml", "reader:\n  data:\n    Other:\n      reed: true\n");
    let failed = launch().fail();
    let message = crate::harness::server::text(&failed.stderr);
    assert!(
        message.contains("roles.yaml:4:7") && message.contains("unknown member reed"),
        "{message}"
    );
    let checked = home.output(&["check", &home.path("app").display().to_string()]);
    assert_eq!(checked.status.code(), Some(64));
}

#[test]
fn roles_follow_their_file_in_dev() {
    let home = Home::with_schema(SCHEMA);
    home.write(
        "app/config.yaml",
        "rest: true\ngraphqlSchema:\n  files: schema.graphql\nroles:\n  files: roles.yaml\n",
    );
    home.write("app/roles.yaml", "reader: {data: {Person: {read: true}}}\n");
    let server = home.launch_as("dev").set("operationsApi.network.port=127.0.0.1:0").start();
    let admin = server.operations().login(USERNAME, PASSWORD);
    call(&admin, "add_user", json!({"username": "ann", "password": "x", "role": "reader"}))
        .expect(200);
    of(&server, "ann").get("/Other/").expect(403);
    home.write("app/roles.yaml", "reader: {data: {Other: {read: true}}}\n");
    crate::harness::eventually("the role to change", || {
        (of(&server, "ann").get("/Other/").status == 200).then_some(())
    });
}
