//! Who the client is when proxies stand between. A client on this machine is a super user in these tests, so that a
//! request that is refused is one that came from elsewhere.

use super::home;
use crate::harness::{Server, Wire};
use std::net::TcpStream;
use std::time::Duration;

/// The status of a request with these header lines.
fn status(server: &Server, lines: &str) -> u16 {
    let mut wire = server.wire();
    wire.send(format!("GET /Dog/ HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"));
    wire.reply().status
}

#[test]
fn a_forwarded_request_is_never_local_whoever_forwards_it() {
    for trusted in ["192.0.2.1", "127.0.0.0/8"] {
        let server = home().launch().set(&format!("http.trustedProxies={trusted}")).start();
        assert_eq!(status(&server, ""), 200);
        for line in [
            "X-Forwarded-For: 203.0.113.9",
            "X-Forwarded-For: 127.0.0.1",
            "X-Forwarded-For: unknown",
            "X-Forwarded-Proto: https",
            "X-Real-IP: 127.0.0.1",
            "Forwarded: for=127.0.0.1",
            "Via: 1.1 sidecar",
        ] {
            assert_eq!(status(&server, &format!("{line}\r\n")), 401, "{trusted}: {line}");
        }
    }
}

fn binary_header(command: u8, source: [u8; 4]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([command, 0x11, 0, 12]);
    bytes.extend(source);
    bytes.extend([10, 0, 0, 1, 0x9c, 0x40, 0, 80]);
    bytes
}

fn proxied(server: &Server, header: &[u8]) -> Wire {
    let mut wire = server.wire();
    wire.send([header, b"GET /Dog/ HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat());
    wire
}

#[test]
fn the_proxy_protocol_names_the_client_in_both_versions() {
    let launch = home().launch().set("http.proxyProtocol=true");
    let server = launch.set("http.trustedProxies=127.0.0.1").start();
    for header in [
        // they name nobody, which is not the same as this machine
        binary_header(0x20, [0; 4]),
        b"PROXY UNKNOWN\r\n".to_vec(),
        binary_header(0x21, [203, 0, 113, 9]),
        binary_header(0x21, [127, 0, 0, 1]),
        b"PROXY TCP4 203.0.113.9 10.0.0.1 40000 80\r\n".to_vec(),
    ] {
        let mut wire = proxied(&server, &header);
        assert_eq!(wire.reply().status, 401);
        assert_eq!(wire.get("/Dog/").reply().status, 401, "for the whole connection");
    }
}

#[test]
fn a_trusted_proxy_must_send_the_header_and_anyone_else_is_served_without() {
    let launch = home().launch().set("http.proxyProtocol=true");
    let server = launch.set("http.trustedProxies=127.0.0.1").start();
    assert!(proxied(&server, b"").try_reply().is_none(), "it begins with a request");
    let mut cut = server.wire();
    cut.send(b"PROXY TCP4 203.0.113.9");
    cut.finish_sending();
    cut.closed();
    let launch = home().launch().set("http.proxyProtocol=true");
    let server = launch.set("http.trustedProxies=192.0.2.0/24").start();
    assert_eq!(status(&server, ""), 200);
    assert_eq!(proxied(&server, b"PROXY TCP4 203.0.113.9 10.0.0.1 1 1\r\n").reply().status, 400);
}

#[test]
fn a_header_must_come_within_the_time_for_headers_and_does_not_hold_up_a_stop() {
    let launch = home().launch().set("http.proxyProtocol=true").set("http.headersTimeout=500");
    let server = launch.set("http.trustedProxies=127.0.0.1").start();
    let mut wire = server.wire();
    wire.send(b"\r\n\r\n\0");
    let waited = wire.closed();
    assert!(waited >= Duration::from_millis(400), "{waited:?}");
    let launch = home().launch().set("http.proxyProtocol=true");
    let server = launch.set("http.trustedProxies=127.0.0.1").start();
    let silent = TcpStream::connect(server.http).unwrap();
    crate::harness::eventually("the connection", || {
        (server.metric("harper_connections") >= 1.0).then_some(())
    });
    server.stop();
    drop(silent);
}
