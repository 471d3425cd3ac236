//! `dev`: for a person at a keyboard.

use crate::harness::{Home, eventually};
use std::net::{IpAddr, Ipv4Addr};

const ONE: &str = "type Dog @table @export { id: ID @primaryKey }\n";
const TWO: &str = "type Dog @table @export { id: ID @primaryKey }\ntype Cat @table @export { id: ID @primaryKey }\n";

#[test]
fn a_change_of_the_application_is_served_without_a_restart() {
    let home = Home::with_schema(ONE);
    let server = home.launch_as("dev").start();
    let client = server.client();
    client.put("/Dog/1", "{}").expect(204);
    client.get("/Cat/").expect(404);
    home.write("app/schema.graphql", TWO);
    eventually("the new table", || (client.get("/Cat/").status == 200).then_some(()));
    client.put("/Cat/1", "{}").expect(204);
    client.get("/Dog/1").expect(200);
    server.line("reloaded");
    home.write("app/schema.graphql", "type Dog @tabel @table { id: ID }");
    let line = server.line("unknown directive @tabel");
    assert!(line.contains("schema.graphql:1:10"), "{line}");
    server.line("the one before goes on");
    client.get("/Cat/1").expect(200);
    home.write("app/schema.graphql", ONE);
    eventually("the table to be gone", || (client.get("/Cat/").status == 404).then_some(()));
    home.write("app/schema.graphql", TWO);
    eventually("its records to be back", || (client.get("/Cat/1").status == 200).then_some(()));
    client.get("/Dog/1").expect(200);
}

#[test]
fn it_listens_on_loopback_and_needs_no_password() {
    let home = Home::with_schema(ONE);
    // a port without an address: `run` would take every address
    let server = home
        .launch_as("dev")
        .without_env("HDB_ADMIN_PASSWORD")
        .set("http.port=0")
        .set("admin.port=0")
        .start();
    for address in [server.http, server.admin] {
        assert_eq!(address.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST), "{}", server.log());
    }
    server.client().put("/Dog/1", "{}").expect(204);
    assert!(home.path("app/.harper/database").is_dir());
    assert!(!home.path("root").exists());
    server.stop();
    let server = home.launch_as("dev").start();
    server.client().get("/Dog/1").expect(200);
}

#[test]
fn it_ends_with_its_terminal() {
    let home = Home::with_schema(ONE);
    let mut server = home.launch_as("dev").start();
    server.signal(rustix::process::Signal::HUP);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn writes_do_not_cause_reloads() {
    let home = Home::with_schema(ONE);
    let server = home.launch_as("dev").start();
    let client = server.client();
    for id in 0..30 {
        client.put(&format!("/Dog/{id}"), "{}").expect(204);
    }
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert!(
        !server.log().contains("reloaded"),
        "the data lie in a hidden folder: {}",
        server.log()
    );
}
