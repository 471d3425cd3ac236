//! What a handshake agrees on, and what becomes of those that fail.

use super::certificates::Authority;
use super::client::{Tls, der};
use crate::harness::{Home, Server, Wire, eventually};
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A certificate of version 1 of X.509, which no library of today makes, and its key; nothing trusts it.
const OLD_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\n\
    MIIBJDCBywIUF2MtBOPT5kUpfZxlLfApg1OSbYYwCgYIKoZIzj0EAwIwFDESMBAG\n\
    A1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNDAzNDk1NVoYDzIxMjYxMDMxMDM0OTU1\n\
    WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC\n\
    AASx0oOCAj51965stPiObXec7k6FNFVlWEnWhW6akAzHQtHSVq9b3wmNzrICUN9J\n\
    SXLcoRgr7ApYXcTJlG5OdFrsMAoGCCqGSM49BAMCA0gAMEUCIDMHetMIyXTu8E8+\n\
    sDGmiw7CJCH+3u1h0yKD6u827J37AiEA5eUBx3kCwRl2xK3vTkCRUSBeAHFqoKIl\n\
    Jb3nbeNTq08=\n\
    -----END CERTIFICATE-----\n";
const OLD_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgvE88VanRQuiHSSVc\n\
    1tfuRYBlF90RA1iEBwabCLxNKfihRANCAASx0oOCAj51965stPiObXec7k6FNFVl\n\
    WEnWhW6akAzHQtHSVq9b3wmNzrICUN9JSXLcoRgr7ApYXcTJlG5OdFrs\n\
    -----END PRIVATE KEY-----\n";

/// A server whose `tls` is as given.
fn start(home: &Arc<Home>, tls: &Value) -> (Server, SocketAddr) {
    let config = json!({"tls": tls, "http": {"securePort": "127.0.0.1:0"}});
    let server = home.launch().set("threads.count=2").configured(&config).start();
    let address = server.https();
    (server, address)
}

fn home() -> Arc<Home> {
    Home::with_schema("type Dog @table @export { id: ID @primaryKey }")
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let (home, authority) = (home(), Authority::new("test authority"));
    let (main, wild, named) = (
        authority.server(&["main.example", "localhost"]),
        authority.server(&["*.a.example"]),
        authority.server(&["b.example", "c.example"]),
    );
    let path = |name: &str, text: &str| home.write(name, text).display().to_string();
    let (_server, address) = start(
        &home,
        &json!([
            {"certificate": path("m.crt", &main.certificate), "privateKey": path("m.key", &main.key)},
            // as PEM text in the configuration itself
            {"certificate": wild.certificate, "privateKey": wild.key},
            {"certificate": path("n.crt", &named.certificate), "privateKey": path("n.key", &named.key), "hosts": ["c.example"]},
        ]),
    );
    let client = Tls::trusting(&authority.pem);
    for (name, expected) in [
        ("main.example", &main),
        ("localhost", &main),
        ("x.a.example", &wild),
        ("c.example", &named),
    ] {
        assert!(client.certificate_for(address, name) == der(&expected.certificate), "{name}");
    }
    // b.example is a name of the third certificate, but not one of its entry: it gets the first, which is not for it
    let error = client.connect(address, "b.example").err().unwrap().to_string();
    assert!(error.contains("not valid for"), "{error}");
}

#[test]
fn versions_and_ciphers_are_as_configured() {
    let (home, authority) = (home(), Authority::new("test authority"));
    let pair = authority.server(&["localhost"]);
    let connect = |tls: &Value, version: &'static rustls::SupportedProtocolVersion| {
        let (_server, address) = start(&home, tls);
        let client = Tls::with(&authority.pem, &[version], None);
        let secure = client.connect(address, "localhost").ok()?;
        Some(secure.stream.conn.negotiated_cipher_suite().unwrap().suite())
    };
    let mut tls = json!({"certificate": pair.certificate, "privateKey": pair.key});
    assert!(connect(&tls, &TLS12).is_some() && connect(&tls, &TLS13).is_some());
    tls["minVersion"] = json!("1.3");
    assert!(connect(&tls, &TLS12).is_none() && connect(&tls, &TLS13).is_some());
    tls["minVersion"] = json!("1.2");
    tls["ciphers"] = json!("ECDHE-ECDSA-AES128-GCM-SHA256:AES128-SHA");
    let suite = connect(&tls, &TLS12);
    assert_eq!(suite, Some(rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256));
    assert!(connect(&tls, &TLS13).is_none(), "the list names no suite of TLS 1.3");
    // a client prefers them the other way round
    tls["ciphers"] = json!(
        "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384"
    );
    let suite = connect(&tls, &TLS13);
    assert_eq!(suite, Some(rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256));
    let suite = connect(&tls, &TLS12);
    assert_eq!(suite, Some(rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256));
}

#[test]
fn alpn_agrees_on_http_1_1_and_on_nothing_else() {
    let (home, authority) = (home(), Authority::new("test authority"));
    let pair = authority.server(&["localhost"]);
    let tls = json!({"certificate": pair.certificate, "privateKey": pair.key});
    let (server, address) = start(&home, &tls);
    let client = Tls::trusting(&authority.pem);
    let offering = |protocols: &[&str]| {
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        client.changed(|config| config.alpn_protocols = protocols)
    };
    let secure = offering(&["h2", "http/1.1"]).connect(address, "localhost").unwrap();
    assert_eq!(secure.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(offering(&["spdy/1"]).connect(address, "localhost").is_err());
    eventually("the refused handshake to be counted", || {
        (server.metric(r#"harper_tls_handshakes_total{result="protocol"}"#) == 1.0).then_some(())
    });
}

#[test]
fn plain_http_on_the_secure_port_is_told_so() {
    let (server, address) = start(&home(), &json!({}));
    let reply = Wire::connect(address).get("/Dog/1").reply().expect(400);
    assert!(reply.text().contains("HTTPS"), "{reply}");
    for noise in [&b"\x16\x03\x01\x00\x05hello"[..], b"\x00\x00\x00", b"\x80\x2e\x01\x00\x02"] {
        let mut wire = Wire::connect(address);
        wire.send(noise).finish_sending();
        // an alert at most (RFC 8446 §6)
        assert!(wire.rest().len() <= 7, "{noise:?}");
    }
    let count = |result: &str| {
        server.metric(&format!("harper_tls_handshakes_total{{result=\"{result}\"}}"))
    };
    assert_eq!(count("plain_http"), 1.0);
    eventually("the noise to be counted", || {
        (count("invalid") + count("closed") >= 3.0).then_some(())
    });
}

#[test]
fn a_handshake_has_the_time_of_a_head() {
    let home = home();
    let config = json!({"http": {"securePort": "127.0.0.1:0", "headersTimeout": 400}});
    let server = home.launch().configured(&config).start();
    let address = server.https();
    let mut silent = Wire::connect(address);
    let mut slow = Wire::connect(address);
    slow.send(b"\x16\x03\x01");
    assert!(silent.closed() < Duration::from_secs(10));
    assert!(slow.closed() < Duration::from_secs(10));
    eventually("the time to be counted", || {
        let count = server.metric(r#"harper_tls_handshakes_total{result="timeout"}"#);
        (count == 2.0).then_some(())
    });
}

#[test]
fn silent_clients_of_tls_are_bounded_like_all_others() {
    let home = home();
    let http = json!({"securePort": "127.0.0.1:0", "headersTimeout": 2000, "connectionsMax": 3});
    let server = home.launch().configured(&json!({ "http": http })).start();
    let address = server.https();
    let authority = std::fs::read_to_string(home.path("root/keys/ca.pem")).unwrap();
    let client = Tls::trusting(&authority);
    let mut silent: Vec<_> = (0..3).map(|_| Wire::connect(address)).collect();
    eventually("the silent ones", || (server.metric("harper_connections") == 3.0).then_some(()));
    // one more is closed at once, and counted
    assert!(client.connect(address, "localhost").is_err());
    let rejected = server.metric(r#"harper_rejected_total{reason="connections"}"#);
    assert!(rejected >= 1.0);
    // the silent ones are cut when the time of a head is over, and counted; then there is room
    for wire in &mut silent {
        assert!(wire.closed() < Duration::from_secs(20));
    }
    eventually("the time to be counted", || {
        let count = server.metric(r#"harper_tls_handshakes_total{result="timeout"}"#);
        (count == 3.0).then_some(())
    });
    let mut secure = client.connect(address, "localhost").unwrap();
    secure.get("/Dog/").reply().expect(200);
}

#[test]
fn a_certificate_of_a_version_that_is_not_taken_is_called_that() {
    let home = home();
    let tls = json!({"certificate": OLD_CERTIFICATE, "privateKey": OLD_KEY});
    let config = json!({"tls": tls, "http": {"securePort": "127.0.0.1:0"}});
    let output = home.launch_as("check").configured(&config).fail();
    assert_eq!(output.status.code(), Some(64));
    let said = crate::harness::server::text(&output.stderr);
    assert!(said.contains("certificate: the first certificate cannot be used"), "{said}");
    assert!(said.contains("Version") && !said.contains("not that of the certificate"), "{said}");
}

#[test]
fn a_client_that_is_slow_after_the_handshake_hears_408() {
    let home = home();
    let config = json!({"http": {"securePort": "127.0.0.1:0", "headersTimeout": 500}});
    let server = home.launch().configured(&config).start();
    let address = server.https();
    let authority = std::fs::read_to_string(home.path("root/keys/ca.pem")).unwrap();
    let mut secure = Tls::trusting(&authority).connect(address, "localhost").unwrap();
    secure.send("GET / HTTP/1.1\r\nHost: lo");
    secure.reply().expect(408);
}

#[test]
fn certificates_that_cannot_be_used_are_refused_with_all_their_faults() {
    let (home, authority) = (home(), Authority::new("test authority"));
    let (one, other) = (authority.server(&["one.example"]), authority.server(&["two.example"]));
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let tls = json!([
        {"certificate": one.certificate, "privateKey": other.key},
        {"certificate": one.certificate, "privateKey": encrypted},
        {"certificate": one.key, "privateKey": one.key},
        {"certificate": "/nowhere/tls.crt", "privateKey": one.certificate},
    ]);
    let config = json!({"tls": tls, "http": {"securePort": "127.0.0.1:0"}});
    for verb in ["run", "check"] {
        let launch = if verb == "run" { home.launch() } else { home.launch_as("check") };
        let output = launch.configured(&config).fail();
        assert_eq!(output.status.code(), Some(64), "{verb}");
        let said = crate::harness::server::text(&output.stderr);
        for part in [
            "tls[0].privateKey: the key is not that of the certificate",
            "tls[1].privateKey: the private key is encrypted",
            "tls[2].certificate: there is no certificate in it",
            "/nowhere/tls.crt: tls[3].certificate: No such file",
            "tls[3].privateKey: there is no private key in it",
        ] {
            assert!(said.contains(part), "{verb}: {part}\nis not in\n{said}");
        }
        let secret = one.key.lines().nth(1).unwrap();
        assert!(!said.contains(secret), "a key is never shown");
    }
}
