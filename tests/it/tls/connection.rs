//! Connections of HTTP/1.1 over TLS: their deadlines and their end are those of plain ones.

use super::client::Tls;
use crate::harness::{Home, Launch, Server, eventually};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

fn launch() -> Launch {
    Home::with_schema("type Dog @table @export { id: ID @primaryKey name: String }")
        .launch()
        .set("threads.count=1")
        .set("http.securePort=127.0.0.1:0")
}

fn start(launch: Launch) -> (Server, SocketAddr, Tls) {
    let server = launch.start();
    let authority = std::fs::read_to_string(server.home.path("root/keys/ca.pem")).unwrap();
    let address = server.https();
    (server, address, Tls::trusting(&authority))
}

/// Fails unless `elapsed` is about `limit`: not sooner, and not so late that nothing ended it.
#[track_caller]
fn about(elapsed: Duration, limit: f64) {
    let seconds = elapsed.as_secs_f64();
    assert!(seconds > limit * 0.7 && seconds < limit + 8.0, "{seconds} s for a limit of {limit} s");
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let (_server, address, tls) = start(launch().set("http.keepAliveTimeout=1500"));
    let mut idle = tls.connect(address, "localhost").unwrap();
    assert_eq!(idle.get("/Dog/").reply().expect(200).header("keep-alive"), "timeout=1");
    let begun = Instant::now();
    let mut busy = tls.connect(address, "localhost").unwrap();
    for _ in 0..6 {
        busy.get("/Dog/").reply().expect(200);
        std::thread::sleep(Duration::from_millis(400));
    }
    busy.get("/Dog/").reply().expect(200);
    idle.closed();
    about(begun.elapsed(), 1.5);
}

#[test]
fn slow_heads_and_bodies_are_408() {
    let launch = launch().set("http.headersTimeout=1500").set("http.timeout=1500");
    let (_server, address, tls) = start(launch);
    let begun = Instant::now();
    let (mut head, mut body) =
        (tls.connect(address, "localhost").unwrap(), tls.connect(address, "localhost").unwrap());
    head.send("GET /Dog/ HTTP/1.1\r\nHost: loc");
    body.send("PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{");
    for slow in [&mut head, &mut body] {
        let reply = slow.reply().expect(408);
        assert_eq!(reply.header("connection"), "close");
        slow.closed();
    }
    about(begun.elapsed(), 1.5);
}

#[test]
fn what_is_malformed_is_refused_as_on_a_plain_connection() {
    let (_server, address, tls) = start(launch());
    let mut wire = tls.connect(address, "localhost").unwrap();
    wire.get("/Dog/").send("GET /Dog/ HTTP/1.1\nHost: localhost\n\n");
    wire.reply().expect(200);
    assert!(wire.reply().expect(400).error().contains("line 1"));
    wire.closed();
}

#[test]
fn a_stopping_server_finishes_what_is_under_way() {
    let (mut server, address, tls) = start(launch());
    let mut idle = tls.connect(address, "localhost").unwrap();
    idle.get("/Dog/").reply().expect(200);
    let mut upload = tls.connect(address, "localhost").unwrap();
    upload.send("PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\n{\"name\"");
    eventually("the request to be in flight", || {
        (server.metric("harper_http_requests_in_flight") >= 1.0).then_some(())
    });
    server.signal(Signal::TERM);
    server.line("stopping");
    idle.closed();
    assert!(server.is_running(), "it waits for the request");
    upload.send(":\"Rex\"}");
    assert_eq!(upload.reply().expect(204).header("connection"), "close");
    upload.closed();
    assert_eq!(server.wait().code(), Some(0));
}
