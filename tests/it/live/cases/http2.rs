//! `http.http2` and its limits, which new connections have.

use super::{Case, Live};
use crate::h2::frames::{
    ACK, Frames, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, get,
};
use crate::harness::eventually;
use crate::tls::client::Tls;
use serde_json::json;

pub(super) const CASES: &[Case] = &[
    ("http.http2", http2),
    ("http.http2Limits.streamsMax", |live| setting(live, "streamsMax", 3)),
    ("http.http2Limits.streamWindowBytes", |live| setting(live, "streamWindowBytes", 4)),
    ("http.http2Limits.frameBytesMax", |live| setting(live, "frameBytesMax", 5)),
    ("http.http2Limits.connectionWindowBytes", connection_window),
    ("http.http2Limits.pendingResetsMax", pending_resets_max),
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

fn pending_resets_max(live: &Live) {
    let at_once = (0..TIMES).flat_map(taken_back).collect();
    bounds(live, &[], ("pendingResetsMax", 0), &[at_once]);
}

fn idle_bytes_max(live: &Live) {
    let priorities = frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16]).repeat(8000);
    let window = [("connectionWindowBytes", 65_535)];
    bounds(live, &window, ("idleBytesMax", 0), &[priorities]);
}
