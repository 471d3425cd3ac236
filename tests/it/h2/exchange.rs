//! Requests and answers over HTTP/2.

use super::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, block, frame,
    get, request,
};
use super::{Target, launch};
use crate::harness::{Home, Wire, eventually};
use rustix::process::Signal;
use std::time::{Duration, Instant};

#[test]
fn requests_of_one_connection_are_answered_together() {
    let target = Target::start(launch());
    target.server.client().put("/Dog/1", r#"{"name":"Rex"}"#).expect(204);
    let mut frames = target.frames();
    let mut open: Vec<u32> = (0..100).map(|number| 2 * number + 1).collect();
    frames.send(open.iter().flat_map(|stream| get(*stream, "/Dog/1")).collect::<Vec<_>>());
    while !open.is_empty() {
        let next = frames.next().expect("the connection ended");
        if next.flags & END_STREAM != 0 && matches!(next.kind, DATA | HEADERS) {
            open.retain(|stream| *stream != next.stream);
        }
        if next.kind == DATA && !next.payload.is_empty() {
            assert_eq!(next.payload, br#"{"id":"1","name":"Rex"}"#);
        }
    }
}

#[test]
fn a_body_goes_up_and_a_large_one_comes_down() {
    let target = Target::start(launch());
    let mut frames = target.frames();
    let name = "x".repeat(3 << 20);
    let body = format!(r#"{{"name":"{name}"}}"#);
    // longer than the window: the server opens it as it reads
    target.server.client().put("/Dog/1", &body).expect(204);
    frames.send(get(1, "/Dog/1"));
    let (status, down) = frames.answer(1).unwrap();
    assert_eq!(status, 200);
    assert_eq!(down.len(), body.len() + r#""id":"1","#.len());
    frames.send(frame(HEADERS, END_HEADERS, 3, &request("PUT", "/Dog/2")));
    for part in br#"{"name":"Max"}"#.chunks(5) {
        frames.send(frame(DATA, 0, 3, part));
    }
    frames.send(frame(DATA, END_STREAM, 3, b""));
    assert_eq!(frames.answer(3).unwrap().0, 204);
    target.server.client().get("/Dog/2").expect(200);
}

#[test]
fn a_client_without_http_2_gets_http_1() {
    let target = Target::start(launch());
    for protocols in [&[][..], &[&b"http/1.1"[..]]] {
        let secure = target.offering(protocols).connect(target.address, "localhost").unwrap();
        let mut wire: Wire<_> = secure;
        wire.get("/Dog/").reply().expect(200);
    }
    let secure =
        target.offering(&[b"http/1.1", b"h2"]).connect(target.address, "localhost").unwrap();
    assert_eq!(secure.stream.conn.alpn_protocol(), Some(&b"h2"[..]), "the server prefers it");
    let off = Target::start(launch().set("http.http2=false"));
    let secure = off.offering(&[b"h2", b"http/1.1"]).connect(off.address, "localhost").unwrap();
    assert_eq!(secure.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn a_request_is_for_one_name() {
    let target = Target::start(launch());
    let mut frames = target.frames();
    let ask = |authority: &str, host: &str| {
        let fields = [(":method", "GET"), (":scheme", "https"), (":path", "/Dog/none")];
        let names = [(":authority", authority), ("host", host)];
        let names = names.into_iter().filter(|(_, value)| !value.is_empty());
        block(&fields.into_iter().chain(names).collect::<Vec<_>>())
    };
    for (number, (authority, host, expected)) in [
        ("localhost", "", 404),
        ("", "localhost", 404),
        ("localhost", "LOCALHOST", 404),
        ("localhost", "other.example", 400),
        ("", "", 400),
    ]
    .into_iter()
    .enumerate()
    {
        let stream = 2 * number as u32 + 1;
        let mut frames = target.frames();
        frames.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &ask(authority, host)));
        assert_eq!(frames.answer(stream).unwrap().0, expected, "{authority} {host}");
    }
    // a tunnel is refused, and not offered for WebSocket either
    let connect = block(&[(":method", "CONNECT"), (":authority", "localhost:80")]);
    frames.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &connect));
    assert_eq!(frames.answer(1).unwrap().0, 501);
}

#[test]
fn answers_have_no_headers_of_http_1() {
    let target = Target::start(launch());
    let mut frames = target.frames();
    // an error that closes a connection of HTTP/1
    let fields = [
        (":method", "PUT"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/Dog/1"),
    ];
    let long = block(&[&fields[..], &[("content-length", "999999999999")]].concat());
    frames.send(frame(HEADERS, END_HEADERS, 1, &long));
    assert_eq!(frames.answer(1).unwrap().0, 413);
    frames.send(get(3, "/Dog/"));
    assert!(frames.answer(3).is_some(), "the connection goes on");
}

#[test]
fn an_idle_connection_is_told_to_go() {
    let target = Target::start(launch().set("http.keepAliveTimeout=1500"));
    let mut frames = target.frames();
    frames.send(get(1, "/Dog/"));
    frames.answer(1).unwrap();
    let begun = Instant::now();
    assert_eq!(frames.find(GOAWAY).payload[4..8], [0; 4], "without an error");
    frames.ended();
    assert!(begun.elapsed() > Duration::from_millis(1000));
    eventually("the idle connection to be counted", || {
        let closed = ["timeout", "idle"].map(|reason| {
            target.server.metric(&format!("harper_connections_closed_total{{reason=\"{reason}\"}}"))
        });
        (closed[0] + closed[1] >= 1.0).then_some(())
    });
}

#[test]
fn a_stopping_server_answers_what_was_asked_and_refuses_nothing() {
    let mut target = Target::start(launch());
    let mut idle = target.frames();
    let mut busy = target.frames();
    busy.send(frame(HEADERS, END_HEADERS, 1, &request("PUT", "/Dog/1")));
    busy.send(frame(DATA, 0, 1, b"{"));
    eventually("the request to be in flight", || {
        (target.server.metric("harper_http_requests_in_flight") >= 1.0).then_some(())
    });
    target.server.signal(Signal::TERM);
    // until it has heard of the end a client may go on asking
    idle.find(GOAWAY);
    idle.send(get(1, "/Dog/none"));
    let ping = idle.find(PING);
    idle.send(frame(PING, ACK, 0, &ping.payload));
    assert_eq!(idle.answer(1).unwrap().0, 404, "asked before the end was known");
    idle.ended();
    busy.find(GOAWAY);
    assert!(target.server.is_running(), "it waits for the request");
    busy.send(frame(DATA, END_STREAM, 1, b"}"));
    let ping = busy.find(PING);
    busy.send(frame(PING, ACK, 0, &ping.payload));
    assert_eq!(busy.answer(1).unwrap().0, 204);
    busy.ended();
    assert_eq!(target.server.wait().code(), Some(0));
}

#[test]
fn a_retired_worker_says_goodbye_and_answers_what_was_asked() {
    let home = Home::with_schema("type Dog @table @export { id: ID @primaryKey name: String }");
    home.write("cgroup/cpu.max", "50000 100000\n");
    home.write("root/harperdb-config.yaml", "threads: {min: 4}\n");
    let root = home.path("cgroup");
    let launch = home.launch().set(&format!("threads.cgroupRootForTests={}", root.display()));
    let target = Target::start(launch.set("http.securePort=127.0.0.1:0").set("http.http2=true"));
    let mut all: Vec<_> = (0..16).map(|_| target.frames()).collect();
    for frames in &mut all {
        frames.send(get(1, "/Dog/none"));
        assert_eq!(frames.answer(1).unwrap().0, 404);
        frames.send(frame(HEADERS, END_HEADERS, 3, &request("PUT", "/Dog/1")));
        frames.send(frame(DATA, 0, 3, b"{"));
    }
    home.write("root/harperdb-config.yaml", "threads: {min: 1}\n");
    let workers = |state: &str| target.server.metric(&format!("harper_workers_{state}"));
    eventually("one worker", || (workers("running") == 1.0).then_some(()));
    assert!(workers("retiring") > 0.0, "{}", target.server.log());
    for frames in &mut all {
        frames.send(frame(DATA, END_STREAM, 3, b"}"));
        assert_eq!(frames.answer(3).unwrap().0, 204);
    }
    // the clients do not go by themselves
    eventually("the retired to end", || (workers("retiring") == 0.0).then_some(()));
    drop(all);
}

#[test]
fn connections_that_say_nothing_do_not_hold_a_stopping_server() {
    let mut target = Target::start(launch().set("shutdown.timeout=15s"));
    let mut silent = target.silent();
    let mut deaf = target.frames();
    let begun = Instant::now();
    target.server.signal(Signal::TERM);
    assert_eq!(target.server.wait().code(), Some(0), "{}", target.server.log());
    assert!(begun.elapsed() < Duration::from_secs(10), "took {:?}", begun.elapsed());
    silent.ended();
    deaf.ended();
}

#[test]
fn a_body_that_does_not_come_is_408() {
    let target = Target::start(launch().set("http.timeout=1500"));
    let mut frames = target.frames();
    frames.send(frame(HEADERS, END_HEADERS, 1, &request("PUT", "/Dog/1")));
    frames.send(frame(DATA, 0, 1, b"{"));
    let dripping = std::iter::repeat_n(b" ", 8);
    for space in dripping {
        std::thread::sleep(Duration::from_millis(100));
        frames.send(frame(DATA, 0, 1, space));
    }
    assert_eq!(frames.answer(1).unwrap().0, 408);
    frames.send(get(3, "/Dog/"));
    assert!(frames.answer(3).is_some(), "the others of the connection go on");
}

#[test]
fn an_answer_that_nobody_takes_is_ended_and_the_others_go_on() {
    let target = Target::start(launch().set("http.timeout=1500"));
    let name = "x".repeat(1 << 20);
    target.server.client().put("/Dog/1", &format!(r#"{{"name":"{name}"}}"#)).expect(204);
    let mut frames = target.silent();
    // a window of nothing for every stream
    let none = [0, 4, 0, 0, 0, 0];
    frames.send([super::frames::PREFACE, &frame(SETTINGS, 0, 0, &none)].concat());
    frames.send(get(1, "/Dog/1"));
    let reset = frames.find(RST_STREAM);
    assert_eq!(reset.stream, 1);
    assert!(target.server.metric("harper_rejected_total{reason=\"http2_stalled\"}") >= 1.0);
    frames.send(frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]));
    frames.send(get(3, "/Dog/none"));
    assert!(frames.answer(3).is_some());
}
