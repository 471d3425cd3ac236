//! MQTT within binary messages (MQTT 5 §6).

use super::client::{BINARY, CONTINUATION, FIN, TEXT, WebSocket};
use super::{SCHEMA, start};
use crate::harness::client::basic;
use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Home, eventually};
use rustix::process::Signal;

const MQTT: (&str, &str) = ("Sec-WebSocket-Protocol", "mqtt");
/// CONNECT of MQTT 5 with a clean start and the client identifier `w`.
const CONNECT: &[u8] = b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01w";
/// SUBSCRIBE to `Dog/#`.
const SUBSCRIBE: &[u8] = b"\x82\x0b\0\x01\0\0\x05Dog/#\0";

/// What comes until `len` bytes have, however it is cut.
fn read(socket: &mut WebSocket, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let frame = socket.frame();
        assert_eq!(frame.first, FIN | BINARY, "MQTT-6.0.0-1: {frame:?}");
        bytes.extend(frame.payload);
    }
    bytes
}

#[test]
fn packets_may_be_cut_between_messages_or_share_one() {
    let server = start();
    // any path
    for (path, name) in [("/mqtt", "mqtt"), ("/", "mqtt"), ("/Dog/", "mqttv3.1")] {
        let offered = format!("other, {name}");
        let mut socket = WebSocket::open(&server, path, &[("Sec-WebSocket-Protocol", &offered)]);
        assert_eq!(socket.header("sec-websocket-protocol"), name, "MQTT-6.0.0-4");
        socket.send(FIN | BINARY, &CONNECT[..5]).send(BINARY, &CONNECT[5..9]);
        let both = [&CONNECT[9..], SUBSCRIBE].concat();
        socket.send(FIN | CONTINUATION, &both);
        let connack = read(&mut socket, 5);
        assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:x?}");
        let suback = [0x90, 4, 0, 1, 0, 0];
        let rest = if connack.ends_with(&suback) { connack } else { read(&mut socket, 6) };
        assert!(rest.ends_with(&suback), "{rest:x?}");
        server.client().put("/Dog/1", r#"{"name":"Rex"}"#).expect(204);
        let told = read(&mut socket, 10);
        assert!(told.windows(5).any(|part| part == b"Dog/1"), "{told:x?}");
        socket.send(FIN | BINARY, b"\xe0\0");
        assert_eq!(socket.close_code().0, 1000);
        socket.closed();
        server.client().delete("/Dog/1").expect(200);
    }
}

#[test]
fn text_is_no_mqtt() {
    let server = start();
    let mut socket = WebSocket::open(&server, "/mqtt", &[MQTT]);
    socket.send(FIN | TEXT, CONNECT);
    assert_eq!(socket.close_code().0, 1003, "MQTT-6.0.0-1");
}

#[test]
fn who_has_logged_in_on_the_way_need_not_again() {
    let server = Home::with_schema(SCHEMA).launch_as("run").start();
    let login = basic(&format!("{USERNAME}:{PASSWORD}"));
    let mut known = WebSocket::open(&server, "/mqtt", &[MQTT, ("Authorization", &login)]);
    known.send(FIN | BINARY, CONNECT);
    assert_eq!(read(&mut known, 5)[3], 0);
    let mut unknown = WebSocket::open(&server, "/mqtt", &[MQTT]);
    unknown.send(FIN | BINARY, CONNECT);
    assert_eq!(read(&mut unknown, 5)[3], 0x87, "not authorized");
    let foreign = [MQTT, ("Origin", "https://bad.example"), ("Authorization", &login)];
    assert_eq!(WebSocket::refused(&server, "/mqtt", &foreign).status, 403);
}

#[test]
fn it_can_be_switched_off() {
    let server = super::launch().set("mqtt.webSocket=false").start();
    assert_eq!(WebSocket::refused(&server, "/mqtt", &[MQTT]).status, 404);
    let mut table = WebSocket::open(&server, "/Dog/none", &[MQTT]);
    server.client().put("/Dog/none", "{}").expect(204);
    assert_eq!(table.short(), "put none");
}

#[test]
fn a_server_that_stops_says_so_in_mqtt() {
    let mut server = start();
    let mut socket = WebSocket::open(&server, "/mqtt", &[MQTT]);
    socket.send(FIN | BINARY, CONNECT);
    read(&mut socket, 5);
    eventually("the client", || (server.metric("harper_mqtt_clients") == 1.0).then_some(()));
    server.signal(Signal::TERM);
    let goodbye = read(&mut socket, 3);
    assert_eq!((goodbye[0], goodbye[2]), (0xe0, 0x8b), "the server shuts down");
    socket.close_code();
    socket.closed();
    assert!(server.wait().success());
}
