//! Starting where somebody else is already.

use crate::harness::server::text;
use crate::harness::{Home, PATIENCE};
use std::net::TcpListener;
use std::time::Instant;

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey }";

#[test]
fn a_second_server_on_a_root_is_refused() {
    let home = Home::with_schema(SCHEMA);
    let server = home.start();
    server.client().put("/Dog/1", "{}").expect(204);
    let refused = home.launch().fail();
    let message = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{message}");
    assert!(
        message.contains("is in use by another server") && message.contains("root"),
        "{message}"
    );
    server.client().get("/Dog/1").expect(200);
    drop(server);
    home.start().client().get("/Dog/1").expect(200);
}

#[test]
fn a_root_of_harper_on_node_is_recognised_and_left_alone() {
    let home = Home::with_schema(SCHEMA);
    let file = home.write("root/database/data.mdb", b"not ours");
    let refused = home.launch().fail();
    let message = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{message}");
    assert!(message.contains("written by Harper on Node"), "{message}");
    assert_eq!(std::fs::read(file).unwrap(), b"not ours");
}

#[test]
fn a_port_in_use_is_named_with_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for key in ["http.port", "admin.port"] {
        let home = Home::with_schema(SCHEMA);
        let refused = home.launch().set(&format!("{key}={address}")).fail();
        let message = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{message}");
        assert!(
            message.contains(&format!("port {address} ({key}) could not be bound")),
            "{message}"
        );
    }
    let home = Home::with_schema(SCHEMA);
    let server = home.start();
    let other = Home::with_schema(SCHEMA);
    let refused = other.launch().set(&format!("http.port={}", server.http)).fail();
    let message = text(&refused.stderr);
    assert!(
        message.contains("(http.port)"),
        "two servers never share a port unknowingly: {message}"
    );
}

#[test]
fn a_server_is_ready_soon() {
    let home = Home::with_schema(SCHEMA);
    let begun = Instant::now();
    let server = home.start();
    server.admin().get("/readyz").expect(200);
    assert!(begun.elapsed() < PATIENCE / 2);
    assert!(!server.log().contains("error"), "{}", server.log());
}

#[test]
fn ports_can_be_switched_off() {
    let home = Home::with_schema(SCHEMA);
    let mut command = home.command(&["run", "app", "--root", "root", "--set", "http.port=null"]);
    command.args(["--set", "operationsApi.network.port=null", "--set", "mqtt.network.port=null"]);
    command.args(["--set", "operationsApi.network.domainSocket=null"]);
    command.args(["--set", "admin.port=127.0.0.1:0"]).env("HDB_ADMIN_PASSWORD", "x");
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("metrics and probes on"), "the application port is not opened: {line}");
}
