//! Who is told what, and what happens to a stream when that changes.

use super::stream::Stream;
use crate::harness::client::basic;
use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Client, Home, Server};
use serde_json::{Value, json};

const SCHEMA: &str = "type Person @table @export { id: ID @primaryKey name: String salary: Int note: String @allow(role: \"boss\") }\n\
    type Other @table @export { id: ID @primaryKey }";

/// A server with a user of each of these permissions on the table, named as their roles.
fn start(roles: &[(&str, Value)]) -> (Server, Client) {
    let launch = Home::with_schema(SCHEMA).launch_as("run").set("threads.count=1");
    let server = launch.set("operationsApi.network.port=127.0.0.1:0").start();
    let admin = server.operations().login(USERNAME, PASSWORD);
    for (name, rights) in roles {
        call(&admin, "add_role", json!({"role": name, "permission": permission(rights)}));
        call(&admin, "add_user", json!({"username": name, "password": "x", "role": name}));
    }
    (server, admin)
}

fn permission(rights: &Value) -> Value {
    json!({"data": {"tables": {"Person": rights, "Other": rights}}})
}

#[track_caller]
fn call(admin: &Client, name: &str, mut arguments: Value) {
    arguments["operation"] = json!(name);
    admin.post("/", &arguments.to_string()).expect(200);
}

fn attributes(names: &[&str]) -> Value {
    let one = |name: &&str| json!({"attribute_name": name, "read": true, "insert": false, "update": false});
    json!({"read": true, "attribute_permissions": names.iter().map(one).collect::<Vec<_>>()})
}

fn of(server: &Server, name: &str, target: &str) -> Stream {
    Stream::open(server, target, &[("Authorization", &basic(&format!("{name}:x")))])
}

#[test]
fn a_role_is_told_what_it_may_read() {
    let roles = [
        ("all", json!({"read": true})),
        ("boss", json!({"read": true})),
        ("some", attributes(&["name"])),
        ("none", json!({"insert": true})),
    ];
    let (server, _admin) = start(&roles);
    let chef = server.client().login(USERNAME, PASSWORD);
    let record = r#"{"name":"Ann","salary":100,"note":"n"}"#;
    chef.put("/Person/1", record).expect(204);
    let mut streams = [
        (of(&server, "all", "/Person/"), json!({"id": "1", "name": "Ann", "salary": 100})),
        (
            of(&server, "boss", "/Person/1"),
            json!({"id": "1", "name": "Ann", "salary": 100, "note": "n"}),
        ),
        (of(&server, "some", "/Person/"), json!({"id": "1", "name": "Ann"})),
        (of(&server, "some", "/Person/?select(name,salary)"), json!({"name": "Ann"})),
    ];
    for round in 0..2 {
        for (stream, seen) in &mut streams {
            assert_eq!(stream.next().unwrap().data["value"], *seen, "{round}");
        }
        chef.put("/Person/1", record).expect(204);
    }
    let login = basic("none:x");
    let none = [("Authorization", &*login)];
    assert_eq!(Stream::ask(&server, "/Person/", &none).err().unwrap().status, 403);
    let login = basic("some:x");
    let some = [("Authorization", &*login)];
    let hidden = Stream::ask(&server, "/Person/?salary=100", &some).err().unwrap();
    assert_eq!(hidden.status, 403, "{hidden}");
    assert_eq!(Stream::ask(&server, "/Person/", &[]).err().unwrap().status, 401);
}

#[test]
fn a_stream_ends_with_the_right_to_it_and_no_other() {
    let roles = ["gone", "cut", "wider", "password", "removed", "stays"];
    let roles = roles.map(|name| (name, json!({"read": true})));
    let (server, admin) = start(&roles);
    let chef = server.client().login(USERNAME, PASSWORD);
    let mut ended: Vec<_> =
        ["gone", "cut", "password", "removed"].map(|name| of(&server, name, "/Person/")).into();
    let open = [("stays", "/Person/"), ("wider", "/Other/")];
    let mut open = open.map(|(name, target)| of(&server, name, target));
    for stream in ended.iter_mut().chain(&mut open) {
        stream.place();
    }
    let alter = |name: &str, rights: &Value| {
        let role = json!({"id": name, "role": name, "permission": permission(rights)});
        call(&admin, "alter_role", role);
    };
    alter("gone", &json!({"read": false}));
    alter("cut", &attributes(&["name"]));
    alter("wider", &json!({"read": true, "insert": true}));
    call(&admin, "alter_user", json!({"username": "password", "password": "new"}));
    call(&admin, "drop_user", json!({"username": "removed"}));
    chef.put("/Person/1", r#"{"salary":7}"#).expect(204);
    chef.put("/Other/1", "{}").expect(204);
    for stream in &mut ended {
        let end = stream.next().expect("a reason");
        assert_eq!(
            (end.name.as_str(), &end.data["reason"]),
            ("end", &json!("the right to read has changed"))
        );
        assert_eq!(stream.next(), None);
    }
    for stream in &mut open {
        assert_eq!(stream.short(1), ["put 1"]);
    }
    // one who may read less comes back for that
    let mut cut = of(&server, "cut", "/Person/1");
    assert_eq!(cut.next().unwrap().data["value"], json!({"id": "1"}));
}
