//! `http.webSocket.*` and `mqtt.webSocket`: sockets that are opened after a change follow it.

use super::{Case, Live};
use crate::harness::eventually;
use crate::web_socket::client::{BINARY, FIN, PING, WebSocket};
use serde_json::json;

pub(super) const CASES: &[Case] = &[
    ("http.webSocket.pingInterval", ping_interval),
    ("http.webSocket.messageBytesMax", message_bytes_max),
    ("http.webSocket.frameBytesMax", frame_bytes_max),
    ("http.webSocket.compression", compression),
    ("http.webSocket.refusals", refusals),
    ("mqtt.webSocket", mqtt),
];

fn open(live: &Live, headers: &[(&str, &str)]) -> WebSocket {
    WebSocket::open(&live.server, "/Dog/nobody", headers)
}

fn ping_interval(live: &Live) {
    live.set(&[("http.webSocket.pingInterval", json!(1))]);
    assert_eq!(open(live, &[]).frame().first, FIN | PING);
}

/// Whether a message of 2,000 bytes is too large, as a socket says that is opened now.
fn is_too_large(live: &Live, key: &str) -> Option<()> {
    let mut socket = open(live, &[]);
    socket.send(FIN | BINARY, &[0; 2000]).send(FIN | PING, &[]);
    let frame = socket.frame();
    String::from_utf8_lossy(&frame.payload).contains(key).then_some(())
}

fn message_bytes_max(live: &Live) {
    let key = "http.webSocket.messageBytesMax";
    assert_eq!(is_too_large(live, key), None);
    live.set(&[(key, json!(1000))]);
    eventually("the limit", || is_too_large(live, key));
}

fn frame_bytes_max(live: &Live) {
    let key = "http.webSocket.frameBytesMax";
    assert_eq!(is_too_large(live, key), None);
    live.set(&[(key, json!(1000))]);
    eventually("the limit", || is_too_large(live, key));
}

fn compression(live: &Live) {
    let agreed = || {
        let socket = open(live, &[("Sec-WebSocket-Extensions", "permessage-deflate")]);
        !socket.header("sec-websocket-extensions").is_empty()
    };
    assert!(agreed());
    live.set(&[("http.webSocket.compression", json!(false))]);
    eventually("none", || (!agreed()).then_some(()));
}

fn refusals(live: &Live) {
    let refused = || WebSocket::over(live.server.wire(), "/Nope", &[]);
    assert_eq!(refused().err().unwrap().status, 404);
    live.set(&[("http.webSocket.refusals", json!("close"))]);
    assert_eq!(eventually("a socket", || refused().ok()).close_code().0, 1011);
}

fn mqtt(live: &Live) {
    let headers = [("Sec-WebSocket-Protocol", "mqtt")];
    let speaks = || WebSocket::over(live.server.wire(), "/mqtt", &headers).is_ok();
    assert!(speaks());
    live.set(&[("mqtt.webSocket", json!(false))]);
    eventually("none", || (!speaks()).then_some(()));
}
