//! WebSocket over TLS, and over a stream of HTTP/2 (RFC 8441).

use super::client::{CLOSE, FIN, PING, PONG, TEXT, WebSocket, frame};
use crate::h2::frames::{
    self, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, SETTINGS, block, frame as h2_frame,
};
use crate::h2::{Target, launch};
use crate::tls::client::Tls;
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

/// SETTINGS_ENABLE_CONNECT_PROTOCOL = 1.
const CONNECT_PROTOCOL: [u8; 6] = [0, 8, 0, 0, 0, 1];

fn asking(protocol: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", protocol),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
        ("sec-websocket-version", "13"),
    ];
    block(&[&fields[..], more].concat())
}

/// The next frame of a stream that is `kind`.
fn next(frames: &mut Frames, stream: u32, kind: u8) -> frames::Frame {
    loop {
        let frame = frames.next().expect("a frame");
        if (frame.stream, frame.kind) == (stream, kind) {
            return frame;
        }
    }
}

/// The message in the next frame of data: its first byte, and what it says.
fn message(frames: &mut Frames, stream: u32) -> (u8, Vec<u8>) {
    let data = next(frames, stream, DATA).payload;
    (data[0], data[2..].to_vec())
}

#[test]
fn a_socket_opens_over_tls() {
    let server = launch().start();
    let authority = std::fs::read_to_string(server.home.path("root/keys/ca.pem")).unwrap();
    let wire = Tls::trusting(&authority).connect(server.https(), "localhost").unwrap();
    let mut socket = WebSocket::over(wire, "/Dog/", &[]).unwrap_or_else(|reply| panic!("{reply}"));
    server.client().put("/Dog/1", r#"{"name":"Rex"}"#).expect(204);
    assert_eq!(socket.short(), "put 1");
    socket.send(FIN | CLOSE, &[]);
    assert_eq!(socket.frame().first, FIN | CLOSE);
}

#[test]
fn streams_of_http_2_are_sockets_beside_requests() {
    let target = Target::start(launch());
    let mut frames = target.silent();
    frames.send([frames::PREFACE, &h2_frame(SETTINGS, 0, 0, &[])].concat());
    let settings = frames.next().unwrap();
    let offers = settings.payload.chunks(6).any(|setting| setting == CONNECT_PROTOCOL);
    assert!(offers, "RFC 8441 §3: {settings:?}");
    frames.send(h2_frame(SETTINGS, 1, 0, &[]));
    frames.send(h2_frame(HEADERS, END_HEADERS, 1, &asking("websocket", "/Dog/", &[])));
    let answer = next(&mut frames, 1, HEADERS);
    assert_eq!(frames::status(&answer.payload), 200);
    assert_eq!(answer.flags & END_STREAM, 0);
    // requests go on beside it
    frames.send(frames::get(3, "/Dog/"));
    assert_eq!(frames::status(&next(&mut frames, 3, HEADERS).payload), 200);
    target.server.client().put("/Dog/1", r#"{"name":"Rex"}"#).expect(204);
    let (first, text) = message(&mut frames, 1);
    assert_eq!(first, FIN | TEXT);
    let event: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(event["value"]["name"], "Rex");
    // frames of WebSocket may be cut between frames of HTTP/2
    let ping = frame(FIN | PING, b"hello");
    frames.send(h2_frame(DATA, 0, 1, &ping[..3])).send(h2_frame(DATA, 0, 1, &ping[3..]));
    assert_eq!(message(&mut frames, 1), (FIN | PONG, b"hello".to_vec()));
    frames.send(h2_frame(DATA, 0, 1, &frame(FIN | CLOSE, &[3, 0xe8])));
    assert_eq!(message(&mut frames, 1), (FIN | CLOSE, vec![3, 0xe8]));
    let end = next(&mut frames, 1, DATA);
    assert_ne!(end.flags & END_STREAM, 0, "RFC 8441 §5: an orderly close ends the stream");
    frames.send(frames::get(5, "/Dog/1"));
    assert_eq!(frames::status(&next(&mut frames, 5, HEADERS).payload), 200);
}

#[test]
fn who_is_refused_on_http_2_hears_why() {
    let target = Target::start(launch());
    let mut frames = target.frames();
    for (stream, protocol, path, status) in [
        (1, "websocket", "/Nope", 404),
        (3, "websocket", "/Dog/?nope=1", 400),
        (5, "connect-udp", "/Dog/", 501),
    ] {
        frames.send(h2_frame(HEADERS, END_HEADERS, stream, &asking(protocol, path, &[])));
        let answer = next(&mut frames, stream, HEADERS);
        assert_eq!(frames::status(&answer.payload), status, "{path}");
    }
    let wrong = block(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/Dog/"),
    ]);
    frames.send(h2_frame(HEADERS, END_HEADERS, 7, &wrong));
    assert_eq!(frames::status(&next(&mut frames, 7, HEADERS).payload), 400, "no version");
}

#[test]
fn a_stream_whose_client_only_talks_can_still_be_told() {
    let target = Target::start(launch().set("http.timeout=1s"));
    let mut frames = target.frames();
    frames.send(h2_frame(HEADERS, END_HEADERS, 1, &asking("websocket", "/Dog/", &[])));
    assert_eq!(frames::status(&next(&mut frames, 1, HEADERS).payload), 200);
    for _ in 0..25 {
        frames.send(h2_frame(DATA, 0, 1, &frame(FIN | PONG, &[])));
        std::thread::sleep(Duration::from_millis(100));
    }
    target.server.client().put("/Dog/1", r#"{"name":"Rex"}"#).expect(204);
    // it is asked for a sign of life, too
    while message(&mut frames, 1).0 != FIN | TEXT {}
}

#[test]
fn a_silent_stream_stays_and_ends_with_the_server() {
    let settings = launch().set("http.timeout=1s").set("http.keepAliveTimeout=500");
    let mut target = Target::start(settings);
    let mut frames = target.frames();
    frames.send(h2_frame(HEADERS, END_HEADERS, 1, &asking("websocket", "/Dog/none", &[])));
    assert_eq!(frames::status(&next(&mut frames, 1, HEADERS).payload), 200);
    for _ in 0..5 {
        assert_eq!(message(&mut frames, 1).0, FIN | PING);
        frames.send(h2_frame(DATA, 0, 1, &frame(FIN | PONG, &[])));
    }
    target.server.signal(Signal::TERM);
    loop {
        let (first, payload) = message(&mut frames, 1);
        if first == FIN | CLOSE {
            assert_eq!(payload[..2], 1001_u16.to_be_bytes());
            break;
        }
    }
    frames.send(h2_frame(DATA, END_STREAM, 1, &frame(FIN | CLOSE, &[])));
    assert!(target.server.wait().success());
}
