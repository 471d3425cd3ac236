//! What keeps a connection of HTTP/2 open on which nothing is asked.

use super::frames::{Frames, PING, frame, get};
use super::{Target, launch};
use std::time::{Duration, Instant};

/// Time after which a connection is not taken to be cut any more.
const TIME_MAX: Duration = Duration::from_secs(20);

/// Pings until the connection ends; how long that took.
#[track_caller]
fn ping_to_the_end(mut frames: Frames) -> Duration {
    let begun = Instant::now();
    while frames.try_send(&frame(PING, 0, 0, b"12345678")).is_ok() {
        assert!(begun.elapsed() < TIME_MAX, "pings keep the connection open");
        std::thread::sleep(Duration::from_millis(100));
    }
    begun.elapsed()
}

#[test]
fn pings_are_no_requests() {
    let launch = launch().set("http.headersTimeout=500").set("http.keepAliveTimeout=1000");
    let target = Target::start(launch.set("http.timeout=1000"));
    ping_to_the_end(target.frames());
    let mut frames = target.frames();
    frames.send(get(1, "/Dog/"));
    assert_eq!(frames.answer(1).unwrap().0, 200);
    let open_for = ping_to_the_end(frames);
    assert!(open_for >= Duration::from_millis(900), "{open_for:?}");
}
