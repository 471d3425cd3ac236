//! `dataLoader`: records that come with an application.

use crate::harness::server::text;
use crate::harness::{Home, Server};
use std::sync::Arc;

const CONFIG: &str =
    "rest: true\ngraphqlSchema:\n  files: schema.graphql\ndataLoader:\n  files: 'data/*'\n";

fn home() -> Arc<Home> {
    let home = Home::with_schema(
        "type Dog @table @export { id: ID @primaryKey name: String @indexed age: Int }",
    );
    home.write("app/config.yaml", CONFIG);
    home
}

fn restart(server: Server) -> Server {
    server.stop().start()
}

fn name(server: &Server, id: &str) -> String {
    server.client().get(&format!("/Dog/{id}")).expect(200).json()["name"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn records_are_loaded_once_follow_the_file_and_never_undo_what_a_user_did() {
    let home = home();
    home.write("app/data/dogs.json", r#"{"table":"Dog","records":[{"id":"a","name":"Rex"},{"id":"b","name":"Bo"},{"id":"c","name":"Cy"}]}"#);
    home.write(
        "app/data/more.yaml",
        "database: data\ntable: Dog\nrecords:\n  - {id: y, name: Yak}\n",
    );
    let server = home.start();
    assert_eq!((name(&server, "a"), name(&server, "y")), ("Rex".into(), "Yak".into()));
    assert_eq!(server.client().get("/Dog/?name=Bo&select(id)").text(), r#"["b"]"#);
    let tag = server.client().get("/Dog/a").header("etag").to_owned();
    server.client().patch("/Dog/b", r#"{"name":"Mine"}"#).expect(204);
    let server = restart(server);
    assert_eq!(server.client().get("/Dog/a").header("etag"), tag, "not written again");
    assert_eq!(name(&server, "b"), "Mine");
    home.write("app/data/dogs.json", r#"{"table":"Dog","records":[{"id":"a","name":"Max"},{"id":"b","name":"Bobby"},{"id":"c","name":"Cy"}]}"#);
    let server = restart(server);
    assert_eq!(name(&server, "a"), "Max", "the file changed and nobody else touched it");
    assert_eq!(name(&server, "b"), "Mine", "a user's change stays");
    server.client().delete("/Dog/c").expect(200);
    let server = restart(server);
    server.client().get("/Dog/c").expect(404);
    assert_eq!(name(&server, "a"), "Max");
}

#[test]
fn many_records_are_loaded() {
    let home = home();
    let records: Vec<_> =
        (0..2000).map(|id| format!(r#"{{"id":"{id:05}","name":"n{}"}}"#, id % 10)).collect();
    home.write(
        "app/data/many.json",
        format!(r#"{{"table":"Dog","records":[{}]}}"#, records.join(",")),
    );
    let server = home.launch().set("storage.writeAsync=true").start();
    let found = server.client().get("/Dog/?name=n3&select(id)").json();
    assert_eq!(found.as_array().unwrap().len(), 200);
}

#[test]
fn mistakes_name_the_file_and_the_place() {
    for (file, content, expected) in [
        (
            "bad.json",
            r#"{"table":"Dog","records":[{"id":"a"},{"id":"b","age":"x"}]}"#,
            &["bad.json", "record 2", "property age"][..],
        ),
        ("nokey.yaml", "table: Dog\nrecords:\n  - {name: x}\n", &["nokey.yaml", "record 1", "id"]),
        ("notable.yaml", "table: Cat\nrecords: []\n", &["notable.yaml", "Cat is not defined"]),
        ("syntax.json", "{\"table\":\n \"Dog\", \"records\": [}", &["syntax.json:2"]),
        ("shape.yaml", "table: Dog\nrecord: []\n", &["shape.yaml", "record"]),
    ] {
        let home = home();
        home.write(&format!("app/data/{file}"), content);
        let refused = home.launch().fail();
        let message = text(&refused.stderr);
        assert!(!refused.status.success(), "{file}: {message}");
        for part in expected {
            assert!(message.contains(part), "{file}: {part}: {message}");
        }
    }
}
