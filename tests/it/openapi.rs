//! `/openapi`. Whether it is valid and kept to is for `cargo xtask openapi`.

use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Home, Server};
use serde_json::{Value, json};

const SCHEMA: &str = "
type Dog @table @export(name: \"nice/dog\") { id: ID @primaryKey name: String! age: Int photo: Blob made: Date @createdTime }
type Cat @table @export @sealed { id: Int @primaryKey }
type Hidden @table { id: ID @primaryKey }";

fn start() -> Server {
    let home = Home::with_schema(SCHEMA);
    home.write("app/package.json", r#"{"name": "pets", "version": "1.2.3"}"#);
    home.start()
}

#[test]
fn every_exported_table_is_described() {
    let server = start();
    let document = server.client().get("/openapi").expect(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], "1.2.3");
    let mut paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    paths.sort();
    let expected = [
        "/Cat",
        "/Cat/",
        "/Cat/{id}",
        "/Cat/{id}.{property}",
        "/nice/dog",
        "/nice/dog/",
        "/nice/dog/{id}",
        "/nice/dog/{id}.photo",
        "/nice/dog/{id}.{property}",
        "/nice/dog/{id}/",
        "/openapi",
    ];
    assert_eq!(paths, expected);
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["nice_dog"]["required"], json!(["id", "name", "made"]));
    assert_eq!(schemas["nice_dogInput"]["required"], json!(["name"]));
    assert_eq!(schemas["nice_dog"]["properties"]["age"]["type"], json!(["integer", "null"]));
    assert_eq!(schemas["CatInput"]["additionalProperties"], json!(false));
    let list = &document["paths"]["/nice/dog/"]["get"];
    let types = list["responses"]["200"]["content"].as_object().unwrap();
    for name in ["application/json", "application/cbor", "text/csv", "application/x-ndjson"] {
        assert!(types.contains_key(name), "{name}");
        let ask = server.client().request("GET", "/nice/dog/").header("accept", name).send();
        assert!(ask.expect(200).header("content-type").starts_with(name));
    }
}

#[test]
fn it_is_for_super_users_and_comes_in_the_type_that_is_asked_for() {
    let home = Home::with_schema(SCHEMA);
    let server = home.launch_as("run").start();
    let anyone = server.client();
    let refused = anyone.get("/openapi").expect(401);
    assert!(refused.header("www-authenticate").starts_with("Basic"), "{refused}");
    let admin = server.client().login(USERNAME, PASSWORD);
    let yaml = admin.request("GET", "/openapi").header("accept", "application/yaml").send();
    let yaml: Value = serde_yaml::from_slice(&yaml.expect(200).body).unwrap();
    assert_eq!(yaml, admin.get("/openapi").expect(200).json());
    let head = admin.request("HEAD", "/openapi").send().expect(200);
    assert_ne!(head.header("content-length"), "0");
    let allowed = "GET, HEAD, OPTIONS";
    assert_eq!(admin.post("/openapi", "{}").expect(405).header("allow"), allowed);
    assert_eq!(anyone.request("OPTIONS", "/openapi").send().expect(204).header("allow"), allowed);
}
