//! `http.http2` and its limits, which new connections have.

use super::{Case, Live};
use crate::h2::frames::{
    ACK, DATA, END_HEADERS, Frames, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame, get, request,
};
use crate::harness::eventually;
use crate::tls::client::Tls;
use serde_json::json;
use std::time::{Duration, Instant};

pub(super) const CASES: &[Case] = &[
    ("http.http2", http2),
    ("http.http2Limits.streamsMax", |live| setting(live, "streamsMax", 3)),
    ("http.http2Limits.streamWindowBytes", |live| setting(live, "streamWindowBytes", 4)),
    ("http.http2Limits.frameBytesMax", |live| setting(live, "frameBytesMax", 5)),
    ("http.http2Limits.connectionWindowBytes", connection_window),
    ("http.http2Limits.resetsMax", resets_max),
    ("http.http2Limits.pendingResetsMax", pending_resets_max),
    ("http.http2Limits.errorResetsMax", error_resets_max),
    ("http.http2Limits.sendBufferBytesMax", send_buffer_bytes_max),
    ("http.http2Limits.idleBytesMax", idle_bytes_max),
];

/// How often a client does what it should not.
const TIMES: u32 = 12;

/// A new connection of HTTP/2, if there is one.
fn connect(live: &Live) -> Option<Frames> {
    let authority = std::fs::read_to_string(live.home.path("root/keys/ca.pem")).unwrap();
    let client = Tls::trusting(&authority);
    let client = client.changed(|config| config.alpn_protocols = vec![b"h2".to_vec()]);
    client.connect(live.server.https(), "localhost").ok().map(Frames::over)
}

/// Switches HTTP/2 on, with limits.
fn set(live: &Live, limits: &[(&str, u32)]) {
    let limits: Vec<_> =
        limits.iter().map(|(name, value)| (format!("http.http2Limits.{name}"), *value)).collect();
    let mut pairs = vec![("http.http2", json!(true))];
    pairs.extend(limits.iter().map(|(name, value)| (name.as_str(), json!(value))));
    live.set(&pairs);
}

fn http2(live: &Live) {
    assert!(connect(live).is_none());
    live.set(&[("http.http2", json!(true))]);
    eventually("HTTP/2", || connect(live).map(|_| ()));
}

/// A limit that clients are told (RFC 9113 §6.5.2).
fn setting(live: &Live, name: &str, id: u8) {
    set(live, &[(name, 70_000)]);
    eventually(name, || {
        let mut frames = connect(live)?;
        frames.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        let told = frames.find(SETTINGS).payload;
        let expected = [&[0, id], &70_000_u32.to_be_bytes()[..]].concat();
        told.chunks(6).any(|own| own == expected).then_some(())
    });
}

fn connection_window(live: &Live) {
    set(live, &[("connectionWindowBytes", 100_000)]);
    eventually("the window", || {
        let mut frames = connect(live)?;
        frames.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        let told = frames.find(WINDOW_UPDATE);
        (told.stream == 0 && told.payload == (100_000_u32 - 65_535).to_be_bytes()).then_some(())
    });
}

/// Whether a connection outlives what is sent on it, all at once or step by step.
fn outlives(live: &Live, steps: &[Vec<u8>]) -> bool {
    let mut frames = eventually("HTTP/2", || connect(live));
    frames.greet();
    for step in steps {
        frames.send(step).send(frame(PING, 0, 0, b"8 bytes."));
        loop {
            match frames.next() {
                None => return false,
                Some(next) if next.kind == PING && next.flags & ACK != 0 => break,
                Some(_) => {}
            }
        }
    }
    true
}

/// Shows that clients outlive it by default, and not with the limit.
fn bounds(live: &Live, default: &[(&str, u32)], limit: (&str, u32), steps: &[Vec<u8>]) {
    set(live, default);
    eventually("the default", || outlives(live, steps).then_some(()));
    set(live, &[default, &[limit]].concat());
    eventually("the limit", || (!outlives(live, steps)).then_some(()));
}

/// A request that is taken back at once.
fn taken_back(number: u32) -> Vec<u8> {
    let stream = 2 * number + 1;
    [get(stream, "/Dog/"), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
}

/// Requests that have been begun before they are taken back.
fn resets_max(live: &Live) {
    let steps = (0..TIMES).flat_map(|number| {
        let stream = 2 * number + 1;
        let open = frame(HEADERS, END_HEADERS, stream, &request("PUT", "/Dog/1"));
        let begun = [open, frame(DATA, 0, stream, b"{")].concat();
        [begun, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]
    });
    bounds(live, &[], ("resetsMax", 1), &steps.collect::<Vec<_>>());
}

/// Streams whose window is opened too far.
fn error_resets_max(live: &Live) {
    let steps = (0..TIMES).map(|number| {
        let stream = 2 * number + 1;
        let open = frame(HEADERS, END_HEADERS, stream, &request("PUT", "/Dog/1"));
        [open, frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff])].concat()
    });
    bounds(live, &[], ("errorResetsMax", 1), &steps.collect::<Vec<_>>());
}

/// Answers that are together far more than the kernel takes for a client that does not read: all of them are handed over, and told
/// of in the log, only to buffers that have room for them.
fn send_buffer_bytes_max(live: &Live) {
    const ANSWERS: u32 = 30;
    let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(1 << 20));
    let ask = |path: &str| {
        live.client().put(path, &long).expect(204);
        let mut frames = eventually("HTTP/2", || connect(live));
        let wide = frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
        let open = frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0]);
        frames.send([PREFACE, &wide, &open].concat());
        frames.send((0..ANSWERS).flat_map(|n| get(2 * n + 1, path)).collect::<Vec<_>>());
        frames
    };
    let are_logged = |path: &str| {
        let count = live.server.log().matches(&format!("GET {path} ")).count();
        count >= ANSWERS as usize
    };
    let set = |bytes: u32| {
        let limit = ("http.http2Limits.sendBufferBytesMax", json!(bytes));
        live.set(&[("http.http2", json!(true)), ("http.logging.level", json!("info")), limit]);
    };
    set(65_536);
    let held = ask("/Dog/held");
    std::thread::sleep(Duration::from_millis(500));
    assert!(!are_logged("/Dog/held"));
    drop(held);
    set(2 << 20);
    let mut paths = (0..).map(|number| format!("/Dog/taken{number}"));
    eventually("the buffer", || {
        // what a connection has left is told of, too, when it ends
        let path = paths.next()?;
        let _waiting = ask(&path);
        let until = Instant::now() + Duration::from_secs(2);
        while !are_logged(&path) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        are_logged(&path).then_some(())
    });
}

fn pending_resets_max(live: &Live) {
    let at_once = (0..TIMES).flat_map(taken_back).collect();
    bounds(live, &[], ("pendingResetsMax", 0), &[at_once]);
}

fn idle_bytes_max(live: &Live) {
    let priorities = frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16]).repeat(8000);
    let window = [("connectionWindowBytes", 65_535)];
    bounds(live, &window, ("idleBytesMax", 0), &[priorities]);
}
