//! Clients that come back, or do not keep up: nothing is lost, and nothing is told twice.

use super::stream::Stream;
use super::{SCHEMA, launch, start};
use crate::h2::Target;
use crate::h2::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, block, frame, get,
};
use crate::harness::{Home, Random, Server, eventually};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Reads until the record `last` is told; the keys, in order. Leaves the stream when `leave` says so.
fn read(stream: &mut Stream, keys: &mut Vec<String>, last: &str, mut leave: impl FnMut() -> bool) {
    while keys.last().is_none_or(|key| key != last) && !leave() {
        let Some(event) = stream.next() else { return };
        assert_ne!(event.name, "reset");
        if event.name == "message" {
            keys.push(event.data["id"].as_str().unwrap().to_owned());
        }
    }
}

fn key(number: u64) -> String {
    format!("{number:06}")
}

#[test]
fn one_who_comes_back_misses_nothing_and_hears_nothing_twice() {
    let server = start();
    let mut first = Stream::open(&server, "/Dog/", &[]);
    let begin = first.place();
    const COUNT: u64 = 3000;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let client = server.client();
            for round in 0..COUNT / 10 {
                let records: Vec<_> = (0..10).map(|n| json!({"id": key(10 * round + n)})).collect();
                client.put("/Dog/", &json!(records).to_string()).expect(204);
            }
        });
        for seed in 1..5 {
            let (server, begin) = (&server, &begin);
            scope.spawn(move || {
                let (mut random, mut id, mut keys) = (Random(seed), begin.clone(), Vec::new());
                while keys.len() < COUNT as usize {
                    let mut stream = Stream::resume(server, "/Dog/", &id);
                    let mut left = random.below(400);
                    read(&mut stream, &mut keys, &key(COUNT - 1), || {
                        left = left.saturating_sub(1);
                        left == 0
                    });
                    id = stream.last_id.clone();
                }
                assert_eq!(keys, (0..COUNT).map(key).collect::<Vec<_>>());
            });
        }
    });
}

#[test]
fn a_reader_that_does_not_keep_up_is_late_and_misses_nothing() {
    let server = launch().set("realtime.outboxBytesMax=64K").start();
    let mut slow = Stream::open(&server, "/Dog/", &[]);
    slow.place();
    let client = server.client();
    let name = "x".repeat(20_000);
    // more than the buffers of both sockets hold
    for round in 0..60 {
        let records: Vec<_> =
            (0..20).map(|n| json!({"id": key(20 * round + n), "name": name})).collect();
        client.put("/Dog/", &json!(records).to_string()).expect(204);
    }
    let returns = "harper_realtime_catch_ups_total{scope=\"subscription\"}";
    eventually("the return to the log", || (server.metric(returns) > 0.0).then_some(()));
    assert!(server.metric("harper_realtime_outbox_bytes_peak") < 100_000.0);
    let mut keys = Vec::new();
    read(&mut slow, &mut keys, &key(1199), || false);
    assert_eq!(keys, (0..1200).map(key).collect::<Vec<_>>());
}

#[test]
fn a_worker_that_does_not_keep_up_reads_the_log() {
    let server = launch().set("threads.count=1").set("realtime.inboxBytesMax=1").start();
    let mut streams = [(); 2].map(|()| Stream::open(&server, "/Dog/", &[]));
    streams.iter_mut().for_each(|stream| drop(stream.place()));
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let server = &server;
            scope.spawn(move || {
                for number in 0..100 {
                    server.client().put(&format!("/Dog/{writer}-{number}"), "{}").expect(204);
                }
            });
        }
        for stream in &mut streams {
            let keys: BTreeSet<_> = stream.short(400).into_iter().collect();
            assert_eq!(keys.len(), 400, "none twice, and so none lost");
        }
    });
    assert!(server.metric("harper_realtime_catch_ups_total{scope=\"table\"}") > 0.0);
}

#[test]
fn a_place_that_the_log_does_not_know_resets_the_client() {
    let server = start();
    server.client().put("/Dog/1", "{}").expect(204);
    let mut stream = Stream::open(&server, "/Dog/", &[]);
    stream.next();
    let place = stream.place();
    let (epoch, sequence) = place.split_once('-').unwrap();
    for id in [format!("{epoch}-9999"), format!("0{sequence}-{sequence}"), "what".to_owned()] {
        let mut stream = Stream::resume(&server, "/Dog/", &id);
        let reset = stream.next().unwrap();
        assert_eq!((reset.name.as_str(), reset.id.as_str()), ("reset", ""), "{id}: {reset:?}");
        assert_eq!(stream.short(1), ["put 1"], "{id}");
        assert_eq!(stream.place(), place, "{id}");
    }
}

#[test]
fn a_stream_ends_when_the_server_stops_and_goes_on_after_it() {
    let home = Home::with_schema(SCHEMA);
    let mut server = home.launch().set("shutdown.timeout=15s").start();
    server.client().put("/Dog/1", "{}").expect(204);
    let mut stream = Stream::open(&server, "/Dog/", &[]);
    assert_eq!(stream.short(1), ["put 1"]);
    stream.place();
    server.client().put("/Dog/2", "{}").expect(204);
    assert_eq!(stream.short(1), ["put 2"]);
    server.signal(Signal::TERM);
    let end = stream.next().unwrap();
    assert_eq!((end.name.as_str(), &end.data["reason"]), ("end", &json!("the server stops")));
    assert_eq!(stream.next(), None);
    assert_eq!(server.wait().code(), Some(0), "it did not have to be cut");
    let server = home.launch().start();
    server.client().put("/Dog/3", "{}").expect(204);
    let mut stream = Stream::resume(&server, "/Dog/", &stream.last_id);
    assert_eq!(stream.short(1), ["put 3"]);
}

#[test]
fn what_was_acknowledged_before_kill_9_is_told_after_it() {
    let home = Home::with_schema(SCHEMA);
    let mut acknowledged = BTreeSet::new();
    let (mut id, mut told) = (String::new(), Vec::new());
    for round in 0..4 {
        let server = home.launch().set("threads.count=2").start();
        let mut stream = Stream::open(&server, "/Dog/", &[("Last-Event-ID", &id)]);
        stream.last_id.clone_from(&id);
        if round == 0 {
            stream.place();
        }
        id = while_killed(&server, &mut stream, round, &mut acknowledged, &mut told);
    }
    let server = home.launch().start();
    let mut stream = Stream::resume(&server, "/Dog/", &id);
    server.client().put("/Dog/last", "{}").expect(204);
    read(&mut stream, &mut told, "last", || false);
    let all: BTreeSet<_> = told.iter().cloned().collect();
    assert_eq!(all.len(), told.len(), "none twice");
    assert!(acknowledged.is_subset(&all), "{:?}", acknowledged.difference(&all));
    assert!(acknowledged.len() > 50, "{} were acknowledged", acknowledged.len());
}

/// Writes, reads what is told, and kills the server in the midst of it. The last place that was told.
fn while_killed(
    server: &Server,
    stream: &mut Stream,
    round: u32,
    acknowledged: &mut BTreeSet<String>,
    told: &mut Vec<String>,
) -> String {
    let is_killed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let is_killed = &is_killed;
        let writer = scope.spawn(move || {
            let (client, mut done) = (server.client(), Vec::new());
            for number in 0.. {
                let id = format!("{round}-{number}");
                let put = client.request("PUT", &format!("/Dog/{id}")).json("{}").try_send();
                match put {
                    Ok(reply) => assert_eq!(reply.status, 204),
                    Err(_) => break,
                }
                done.push(id);
            }
            assert!(is_killed.load(Ordering::Relaxed), "nothing else ends it");
            done
        });
        let mut left = 40 + 17 * round;
        read(stream, told, "", || {
            left = left.saturating_sub(1);
            if left == 0 && !is_killed.swap(true, Ordering::Relaxed) {
                server.signal(Signal::KILL);
            }
            false
        });
        acknowledged.extend(writer.join().unwrap());
    });
    stream.last_id.clone()
}

#[test]
fn streams_move_on_when_their_worker_is_one_too_many() {
    let home = crate::live::fixture::home();
    let live = crate::live::fixture::Live::start_with(home, &[("threads.count", json!(3))]);
    let mut streams: Vec<_> = (0..20).map(|_| Stream::open(&live.server, "/Dog/", &[])).collect();
    for stream in &mut streams {
        stream.place();
    }
    live.set(&[("threads.count", json!(1))]);
    eventually("the workers to end", || {
        (live.server.metric("harper_workers_retiring") == 0.0).then_some(())
    });
    live.client().put("/Dog/1", "{}").expect(204);
    let mut moved = 0;
    for stream in &mut streams {
        let mut event = stream.next().unwrap();
        if event.name == "end" {
            assert_eq!(stream.next(), None);
            moved += 1;
            *stream = Stream::resume(&live.server, "/Dog/", &stream.last_id.clone());
            event = stream.next().unwrap();
        }
        assert_eq!(event.short(), "put 1");
    }
    assert!(moved > 0, "some were on the others");
}

#[test]
fn a_stream_of_http_2_is_not_cut_and_shares_its_connection() {
    let target = Target::start(crate::h2::launch().set("http.timeout=1s"));
    let mut frames = target.frames();
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/Dog/"),
        ("accept", "text/event-stream"),
    ];
    frames.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields)));
    let mut text = String::new();
    let mut until = |frames: &mut Frames, part: &str| {
        while !text.contains(part) {
            let next = frames.next().expect("the connection ended");
            assert_ne!(next.kind, RST_STREAM, "the stream was cut");
            if next.kind == DATA && next.stream == 1 {
                text.push_str(std::str::from_utf8(&next.payload).unwrap());
            }
        }
    };
    until(&mut frames, "id: ");
    std::thread::sleep(Duration::from_millis(2500));
    target.server.client().put("/Dog/1", r#"{"name":"Rex"}"#).expect(204);
    until(&mut frames, r#""value":{"id":"1","name":"Rex"}"#);
    frames.send(get(3, "/Dog/1"));
    while frames.find(HEADERS).stream != 3 {}
}
