//! Signs of life, and the end of a socket (RFC 6455 §5.5 and §7).

use super::client::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, WebSocket, frame};
use super::{SCHEMA, launch, start};
use crate::harness::client::basic;
use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Home, Server, eventually};
use rustix::process::Signal;
use serde_json::json;
use std::time::{Duration, Instant};

fn ended(server: &Server, by: &str) {
    let series = format!("harper_websocket_closed_total{{by=\"{by}\"}}");
    eventually(&series, || (server.metric(&series) > 0.0).then_some(()));
    eventually("the last", || (server.metric("harper_websocket_open") == 0.0).then_some(()));
}

#[test]
fn a_close_is_answered_with_its_own_code() {
    let server = start();
    for (sent, answered) in [
        (&[][..], &[][..]),
        (&[0x03, 0xe8], &[0x03, 0xe8]),
        (&[0x0f, 0xa1, b'b', b'y', b'e'], &[0x0f, 0xa1]),
    ] {
        let mut socket = WebSocket::open(&server, "/Dog/", &[]);
        socket.send(FIN | CLOSE, sent);
        let frame = socket.frame();
        assert_eq!((frame.first, &frame.payload[..]), (FIN | CLOSE, answered));
        socket.wire.closed();
    }
    ended(&server, "client");
}

#[test]
fn pings_are_answered_in_order_and_between_parts() {
    let server = start();
    let mut socket = WebSocket::open(&server, "/Dog/", &[]);
    socket.send(TEXT, "κ".as_bytes().split_at(1).0);
    for word in ["one", "two", "three"] {
        socket.send(FIN | PING, word.as_bytes());
    }
    socket.send(FIN | CONTINUATION, "κ".as_bytes().split_at(1).1).send(FIN | PONG, b"unasked");
    for word in ["one", "two", "three"] {
        let frame = socket.frame();
        assert_eq!((frame.first, &frame.payload[..]), (FIN | PONG, word.as_bytes()));
    }
    // a flood is answered as far as it is taken, and no further
    let flood = frame(FIN | PING, &[0; 125]).repeat(20_000);
    let mut other = socket.wire.stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut other, &flood));
    for _ in 0..20_000 {
        assert_eq!(socket.frame().payload, [0; 125]);
    }
    writer.join().unwrap().unwrap();
}

#[test]
fn violations_close_with_their_codes() {
    let server = launch().set("http.webSocket.messageBytesMax=1000").start();
    let mut unmasked = frame(FIN | TEXT, b"a");
    unmasked[1] = 1;
    for (what, bytes, code) in [
        ("not masked", unmasked, 1002),
        ("a reserved bit", frame(FIN | 0x10 | TEXT, b""), 1002),
        ("compression that was not agreed on", frame(FIN | 0x40 | TEXT, b""), 1002),
        ("a reserved opcode", frame(FIN | 3, b""), 1002),
        ("a ping in parts", frame(PING, b""), 1002),
        ("nothing to go on with", frame(FIN | CONTINUATION, b""), 1002),
        ("a message in another", [frame(TEXT, b""), frame(TEXT, b"")].concat(), 1002),
        ("no code that is sent", frame(FIN | CLOSE, &1005_u16.to_be_bytes()), 1002),
        ("no UTF-8", frame(FIN | TEXT, b"\xff"), 1007),
        ("too long", frame(FIN | BINARY, &[0; 1001]), 1009),
        ("too long in parts", frame(BINARY, &[0; 600]).repeat(1), 0),
    ] {
        let mut socket = WebSocket::open(&server, "/Dog/", &[]);
        socket.wire.send(bytes);
        if code == 0 {
            socket.send(FIN | CONTINUATION, &[0; 401]);
            assert_eq!(socket.close_code().0, 1009, "{what}");
        } else {
            assert_eq!(socket.close_code().0, code, "{what}");
        }
        // it is not listened to any longer
        socket.wire.closed();
    }
    ended(&server, "violation");
}

#[test]
fn a_code_arrives_while_its_client_still_sends() {
    let server = launch().set("http.webSocket.messageBytesMax=1000").start();
    let mut socket = WebSocket::open(&server, "/Dog/", &[]);
    let long = frame(FIN | BINARY, &[0; 400_000]);
    let mut other = socket.wire.stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        // far beyond what the sockets hold
        for piece in long.chunks(10_000) {
            std::io::Write::write_all(&mut other, piece).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    writer.join().unwrap();
    assert_eq!(socket.close_code().0, 1009);
    ended(&server, "violation");
}

#[test]
fn a_client_that_takes_nothing_is_cut_however_much_it_says() {
    let server = launch().set("http.timeout=2s").start();
    let mut socket = WebSocket::open(&server, "/Dog/", &[]);
    let record = json!({"name": "x".repeat(500_000)}).to_string();
    for key in 0..20 {
        server.client().put(&format!("/Dog/{key}"), &record).expect(204);
    }
    let begun = Instant::now();
    while server.metric("harper_websocket_open") > 0.0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is still open");
        // it may be cut between the look and this
        let _ = std::io::Write::write_all(&mut socket.wire.stream, &frame(FIN | PONG, &[]));
        std::thread::sleep(Duration::from_millis(200));
    }
    ended(&server, "timeout");
}

#[test]
fn a_client_that_gives_no_sign_of_life_is_cut() {
    let server = launch().set("http.webSocket.pingInterval=1").start();
    let mut alive = WebSocket::open(&server, "/Dog/", &[]);
    let mut dead = WebSocket::open(&server, "/Dog/", &[]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(3500) {
        assert_eq!(alive.frame().first, FIN | PING);
        alive.send(FIN | PONG, &[]);
    }
    assert_eq!(dead.frame().first, FIN | PING);
    assert_eq!(dead.try_frame(), None, "one sign of life is asked for");
    server.client().put("/Dog/1", "{}").expect(204);
    while alive.frame().first != FIN | TEXT {}
    assert_eq!(server.metric("harper_websocket_closed_total{by=\"timeout\"}"), 1.0);
}

#[test]
fn a_silent_socket_outlives_every_deadline_of_requests() {
    let server = launch()
        .set("http.timeout=1s")
        .set("http.headersTimeout=500")
        .set("http.keepAliveTimeout=500")
        .set("http.responseTimeout=500")
        .start();
    let mut socket = WebSocket::open(&server, "/Dog/", &[]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        assert_eq!(socket.frame().first, FIN | PING, "asked within half of http.timeout");
        socket.send(FIN | PONG, &[]);
    }
    server.client().put("/Dog/1", "{}").expect(204);
    while socket.frame().first != FIN | TEXT {}
}

#[test]
fn a_server_that_stops_says_so() {
    let mut server = start();
    let mut silent = WebSocket::open(&server, "/Dog/none", &[]);
    let mut socket = WebSocket::open(&server, "/Dog/", &[]);
    server.signal(Signal::TERM);
    assert_eq!(socket.close_code(), (1001, "the server stops".into()));
    socket.closed();
    assert_eq!(silent.close_code().0, 1001);
    // who does not answer is not waited for
    let begun = Instant::now();
    assert!(server.wait().success());
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_right_that_is_taken_away_closes_the_socket() {
    let server = Home::with_schema(SCHEMA)
        .launch_as("run")
        .set("operationsApi.network.port=127.0.0.1:0")
        .start();
    let admin = server.operations().login(USERNAME, PASSWORD);
    let permission = |read| json!({"data": {"tables": {"Dog": {"read": read}}}});
    for call in [
        json!({"operation": "add_role", "role": "reader", "permission": permission(true)}),
        json!({"operation": "add_user", "username": "ann", "password": "x", "role": "reader"}),
    ] {
        admin.post("/", &call.to_string()).expect(200);
    }
    let login = basic("ann:x");
    let mut socket = WebSocket::open(&server, "/Dog/", &[("Authorization", &login)]);
    let call = json!({"operation": "alter_role", "id": "reader", "permission": permission(false)});
    admin.post("/", &call.to_string()).expect(200);
    assert_eq!(socket.close_code(), (3003, "the right to read has changed".into()));
    let reply = WebSocket::refused(&server, "/Dog/", &[("Authorization", &login)]);
    assert_eq!(reply.status, 403);
}

#[test]
fn more_subscriptions_than_may_be_are_refused() {
    let server = launch().set("realtime.subscriptionsMax=1").start();
    let _one = WebSocket::open(&server, "/Dog/", &[]);
    let reply = WebSocket::refused(&server, "/Dog/", &[]);
    assert_eq!((reply.status, reply.header("retry-after")), (503, "1"));
}
