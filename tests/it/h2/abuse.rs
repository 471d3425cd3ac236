//! What clients who mean harm do over HTTP/2: each is cut off or gets no further, while another client of the same worker is
//! answered in time and the server's memory does not grow.

use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PADDED, PING,
    PREFACE, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, get,
    request,
};
use super::{Target, launch};
use crate::harness::{Server, eventually};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long another client may wait for an answer at any time.
const LATENCY_MAX: Duration = Duration::from_secs(2);
/// How much memory all the probes together may leave behind.
const GROWTH_BYTES_MAX: u64 = 96 << 20;
/// How long a flood goes on that is not cut.
const FLOOD: Duration = Duration::from_secs(8);

/// What becomes of the abuser.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Its connection ends.
    Cut,
    /// It is answered like anybody, or in part refused, and nothing comes of it.
    Harmless,
}
use End::{Cut, Harmless};

type Probe = (&'static str, End, fn(&Target) -> Frames);

const PROBES: &[Probe] = &[
    // requests taken back (CVE-2023-44487)
    ("rapid reset", Cut, |t| {
        flood(t, |n| [get(odd(n), "/Dog/1"), frame(RST_STREAM, 0, odd(n), &[0, 0, 0, 8])].concat())
    }),
    ("rapid reset of uploads", Cut, |t| {
        let open = |n| frame(HEADERS, END_HEADERS, odd(n), &request("PUT", "/Dog/1"));
        flood(t, |n| [open(n), frame(RST_STREAM, 0, odd(n), &[0, 0, 0, 8])].concat())
    }),
    ("requests that the server must reset", Cut, |t| {
        let fields = [(":method", "GET"), (":scheme", "https"), (":path", "/"), ("UPPER", "x")];
        flood(t, |n| frame(HEADERS, END_HEADERS | END_STREAM, odd(n), &block(&fields)))
    }),
    ("requests of which the window takes itself back", Cut, |t| {
        let grow = |n| frame(WINDOW_UPDATE, 0, odd(n), &[0x7f, 0xff, 0xff, 0xff]);
        let open = |n| frame(HEADERS, END_HEADERS, odd(n), &request("PUT", "/Dog/1"));
        flood(t, |n| [open(n), grow(n)].concat())
    }),
    // heads that do not end (CVE-2024-27316)
    ("continuations that never end", Cut, |t| {
        let more = frame(CONTINUATION, 0, 1, &block(&[("x", &"y".repeat(1000))]));
        flood(t, |n| if n == 0 { frame(HEADERS, 0, 1, &request("GET", "/")) } else { more.clone() })
    }),
    ("empty continuations", Cut, |t| {
        let more = frame(CONTINUATION, 0, 1, b"");
        flood(t, |n| if n == 0 { frame(HEADERS, 0, 1, &request("GET", "/")) } else { more.clone() })
    }),
    ("half a head, then silence", Cut, |t| sends(t, &[frame(HEADERS, 0, 1, &request("GET", "/"))])),
    ("a head byte by byte", Cut, |t| {
        let mut frames = t.frames();
        frames.send(frame(HEADERS, 0, 1, &request("GET", "/")));
        drips(frames, |_| frame(CONTINUATION, 0, 1, b""))
    }),
    ("a head of a hundred kilobytes", Harmless, |t| {
        let long = block(&[("x", &"y".repeat(100_000))]);
        let mut bytes = frame(HEADERS, END_STREAM, 1, &request("GET", "/"));
        for part in long.chunks(16_000) {
            bytes.extend(frame(CONTINUATION, 0, 1, part));
        }
        bytes.extend(frame(CONTINUATION, END_HEADERS, 1, b""));
        sends(t, &[bytes])
    }),
    ("a bomb of indexed fields", Harmless, |t| {
        // one field of the dynamic table, named thousands of times
        let mut bomb = request("GET", "/");
        bomb.extend([0x40, 1, b'x', 127, 0x81, 0x1e]);
        bomb.extend([b'y'; 127 + 0x0f01]);
        bomb.extend([0xbe; 8000]);
        sends(t, &[frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb)])
    }),
    ("changes of the table's size", Cut, |t| {
        let mut storm = [0x3f, 0xe1, 0x1f, 0x20].repeat(3000);
        storm.extend(request("GET", "/Dog/1"));
        flood(t, |n| frame(HEADERS, END_HEADERS | END_STREAM, odd(n), &storm))
    }),
    ("an index that is not there", Cut, |t| {
        sends(t, &[frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff, 0xff, 0x7f])])
    }),
    ("a length that never ends", Cut, |t| {
        sends(
            t,
            &[frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &[&[0x40, 0x7f][..], &[0xff; 200]].concat(),
            )],
        )
    }),
    // frames that lead to nothing (CVE-2019-9511 to 9518)
    ("settings", Cut, |t| flood(t, |_| frame(SETTINGS, 0, 0, b""))),
    ("settings of many values", Cut, |t| {
        let many = [0, 4, 0, 1, 0, 0].repeat(2700);
        flood(t, |_| frame(SETTINGS, 0, 0, &many))
    }),
    ("acknowledgements of settings", Cut, |t| flood(t, |_| frame(SETTINGS, ACK, 0, b""))),
    ("pings", Cut, |t| flood(t, |_| frame(PING, 0, 0, b"8 bytes."))),
    ("acknowledgements of pings", Cut, |t| flood(t, |_| frame(PING, ACK, 0, b"8 bytes."))),
    ("priorities", Cut, |t| flood(t, |n| frame(PRIORITY, 0, odd(n), &[0, 0, 0, 0, 16]))),
    ("priorities in a circle", Cut, |t| {
        let on = |stream: u32| [stream.to_be_bytes().as_slice(), &[255]].concat();
        flood(t, |n| {
            frame(PRIORITY, 0, if n % 2 == 0 { 1 } else { 3 }, &on(if n % 2 == 0 { 3 } else { 1 }))
        })
    }),
    ("a stream that depends on itself", Harmless, |t| {
        sends(t, &[frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 16])])
    }),
    ("frames of unknown kinds", Cut, |t| flood(t, |_| frame(0xbe, 0, 0, b"whatever"))),
    ("goodbyes", Cut, |t| flood(t, |_| frame(GOAWAY, 0, 0, &[0; 8]))),
    ("windows opened by one", Cut, |t| flood(t, |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))),
    ("a window opened by nothing", Cut, |t| sends(t, &[frame(WINDOW_UPDATE, 0, 0, &[0; 4])])),
    ("a window opened too far", Cut, |t| {
        sends(t, &[frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])])
    }),
    ("empty data", Harmless, |t| {
        let open = frame(HEADERS, END_HEADERS, 1, &request("PUT", "/Dog/1"));
        flood(t, |n| if n == 0 { open.clone() } else { frame(DATA, 0, 1, b"") })
    }),
    ("padding and nothing else", Harmless, |t| {
        let open = frame(HEADERS, END_HEADERS, 1, &request("PUT", "/Dog/1"));
        let padding = [&[255][..], &[0; 255]].concat();
        flood(t, |n| if n == 0 { open.clone() } else { frame(DATA, PADDED, 1, &padding) })
    }),
    ("data without a request", Cut, |t| flood(t, |_| frame(DATA, 0, 1, b"data"))),
    ("more data than the window holds", Cut, |t| {
        let open = frame(HEADERS, END_HEADERS, 1, &request("PUT", "/Nope"));
        flood(t, |n| if n == 0 { open.clone() } else { frame(DATA, 0, 1, &[b'x'; 16_384]) })
    }),
    // what is not HTTP/2
    ("a frame that is too large", Cut, |t| sends(t, &[frame(DATA, 0, 1, &[0; 16_385])])),
    ("a stream of an even number", Cut, |t| sends(t, &[get(2, "/")])),
    ("a stream of a lower number", Cut, |t| sends(t, &[get(5, "/Dog/1"), get(3, "/Dog/1")])),
    ("a promise", Cut, |t| sends(t, &[frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82])])),
    ("a reset of nothing", Cut, |t| sends(t, &[frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])])),
    ("frames after a goodbye", Cut, |t| {
        sends(
            t,
            &[frame(GOAWAY, 0, 0, &[0; 8]), frame(DATA, 0, 7, b"data"), frame(SETTINGS, 0, 1, b"")],
        )
    }),
    ("HTTP/1.1 where HTTP/2 was agreed", Cut, |t| {
        quiet(t, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    }),
    ("noise", Cut, |t| quiet(t, &[0x9e; 5000])),
    // silence
    ("silence after TLS", Cut, |t| quiet(t, b"")),
    ("half a preface", Cut, |t| quiet(t, &PREFACE[..12])),
    ("a preface without settings", Cut, |t| quiet(t, PREFACE)),
    ("a greeting without a request", Cut, |t| t.frames()),
    ("a preface byte by byte", Cut, |t| {
        drips(t.silent(), |n| PREFACE[n % PREFACE.len()..][..1].to_vec())
    }),
    // what is never finished
    ("uploads that never end", Cut, |t| {
        let open = |n| frame(HEADERS, END_HEADERS, odd(n), &request("PUT", "/Dog/1"));
        sends(t, &(0..100).map(open).collect::<Vec<_>>())
    }),
    ("more streams than there may be", Cut, |t| {
        let open = |n| frame(HEADERS, END_HEADERS, odd(n), &request("PUT", "/Dog/1"));
        sends(t, &(0..3000).map(open).collect::<Vec<_>>())
    }),
    ("answers that nobody takes, in no window", Cut, |t| {
        let mut frames = t.silent();
        frames.send([PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])].concat());
        frames.send((0..100).flat_map(|n| get(odd(n), "/Dog/big")).collect::<Vec<_>>());
        frames
    }),
    ("answers taken byte by byte", Cut, |t| {
        let mut frames = t.silent();
        frames.send([PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1])].concat());
        frames.send((0..100).flat_map(|n| get(odd(n), "/Dog/big")).collect::<Vec<_>>());
        frames
    }),
    ("answers that stay in the socket", Cut, |t| {
        let mut frames = t.silent();
        let wide = frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
        let open = frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0]);
        frames.send([PREFACE, &wide, &open].concat());
        frames.send((0..100).flat_map(|n| get(odd(n), "/Dog/big")).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_secs(9));
        frames
    }),
];

/// The number of the `n`th stream of a client.
fn odd(n: u32) -> u32 {
    2 * n + 1
}

/// Sends up to three megabytes of frames, without reading, for as long as they are taken.
fn flood(target: &Target, next: impl Fn(u32) -> Vec<u8>) -> Frames {
    let mut frames = target.frames();
    let mut bytes = Vec::new();
    for number in 0.. {
        bytes.extend(next(number));
        if bytes.len() > 3 << 20 {
            break;
        }
    }
    frames.flood(&bytes, FLOOD);
    frames
}

fn sends(target: &Target, all: &[Vec<u8>]) -> Frames {
    let mut frames = target.frames();
    frames.send(all.concat());
    frames
}

/// Agrees on HTTP/2 and sends something else, or nothing.
fn quiet(target: &Target, bytes: &[u8]) -> Frames {
    let mut frames = target.silent();
    frames.send(bytes);
    frames
}

/// Sends something now and then, for longer than any deadline.
fn drips(mut frames: Frames, next: impl Fn(usize) -> Vec<u8>) -> Frames {
    for number in 0..30 {
        frames.send(next(number));
        std::thread::sleep(Duration::from_millis(200));
    }
    frames
}

/// Asks again and again until it is over; the longest time that took.
fn other_client(server: &Server, is_over: &AtomicBool) -> Duration {
    let mut longest = Duration::ZERO;
    while !is_over.load(Ordering::Relaxed) {
        let mut wire = server.wire();
        for _ in 0..5 {
            let begun = Instant::now();
            wire.get("/Dog/1").reply().expect(200);
            longest = longest.max(begun.elapsed());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    longest
}

fn run(target: &Target, (name, end, probe): &Probe) -> Result<(), String> {
    let begun = Instant::now();
    let mut frames = probe(target);
    if *end == Cut && !frames.is_cut() {
        return Err(format!("{name}: not cut after {:?}", begun.elapsed()));
    }
    Ok(())
}

#[test]
fn nobody_else_suffers() {
    let launch = launch().set("http.headersTimeout=2000").set("http.keepAliveTimeout=2000");
    let target = Target::start(launch.set("http.timeout=3000"));
    let client = target.server.client();
    client.put("/Dog/1", r#"{"name":"Rex"}"#).expect(204);
    client.put("/Dog/big", &format!(r#"{{"name":"{}"}}"#, "x".repeat(1 << 20))).expect(204);
    // what a first turn allocates is kept for later ones
    run(&target, &PROBES[0]).unwrap();
    let before = target.server.resident_bytes();
    let (is_over, faults) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let next = AtomicUsize::new(0);
    let longest = std::thread::scope(|scope| {
        let other = scope.spawn(|| other_client(&target.server, &is_over));
        let abusers = (0..4).map(|_| {
            scope.spawn(|| {
                while let Some(probe) = PROBES.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(fault) = run(&target, probe) {
                        faults.lock().unwrap().push(fault);
                    }
                }
            })
        });
        let abusers: Vec<_> = abusers.collect();
        for abuser in abusers {
            abuser.join().unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        other.join().unwrap()
    });
    // what the last of them held is given back within seconds
    let growth = eventually("the memory of the probes to be given back", || {
        let growth = target.server.resident_bytes().saturating_sub(before);
        (growth < GROWTH_BYTES_MAX).then_some(growth)
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(longest < LATENCY_MAX, "another client waited for {longest:?}");
    assert!(PROBES.len() >= 30);
    assert_eq!(target.server.metric("harper_panics_total"), 0.0);
    println!("{} probes, longest wait {longest:?}, {growth} bytes", PROBES.len());
}

/// Each is looked at before it is taken back, and its answer goes nowhere.
#[test]
fn uploads_taken_back_one_by_one_are_resets() {
    let target = Target::start(launch().set("http.http2Limits.resetsMax=20"));
    let mut frames = target.frames();
    let ping = frame(PING, 0, 0, b"8 bytes.");
    let mut is_open = |n| {
        let open = frame(HEADERS, END_HEADERS, odd(n), &request("PUT", "/Dog/1"));
        let begun = [open, frame(DATA, 0, odd(n), b"{")].concat();
        [begun, frame(RST_STREAM, 0, odd(n), &[0, 0, 0, 8])].iter().all(|step| {
            frames.send([step.as_slice(), &ping].concat());
            loop {
                match frames.next() {
                    None => return false,
                    Some(next) if next.kind == PING => return true,
                    Some(_) => {}
                }
            }
        })
    };
    let done = (0..100).take_while(|n| is_open(*n)).count();
    assert!((15..=25).contains(&done), "{done}");
    let cut = "harper_rejected_total{reason=\"http2_resets\"}";
    assert_eq!(target.server.metric(cut), 1.0);
}
