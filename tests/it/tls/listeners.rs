//! Which listener has which certificates.

use super::certificates::Authority;
use super::client::{Tls, der};
use crate::harness::{Home, eventually};
use serde_json::json;
use std::net::SocketAddr;

#[test]
fn a_certificate_serves_the_listeners_that_it_is_for() {
    let (home, authority) = (Home::empty(), Authority::new("test authority"));
    let (first, second) = (authority.server(&["localhost"]), authority.server(&["localhost"]));
    let config = json!({
        "tls": [
            {"certificate": first.certificate, "privateKey": first.key, "uses": ["operations"]},
            {"certificate": second.certificate, "privateKey": second.key, "uses": ["https", "wss"]},
        ],
        "http": {"securePort": "127.0.0.1:0"},
        "operationsApi": {"network": {"securePort": "127.0.0.1:0"}},
    });
    let server = home.launch().configured(&config).start();
    let client = Tls::trusting(&authority.pem);
    let of = |address: SocketAddr| client.certificate_for(address, "localhost");
    assert!(of(server.operations_address()) == der(&first.certificate));
    assert!(of(server.https()) == der(&second.certificate));
    for name in ["tls[0]", "tls[1]"] {
        let metric = format!(
            "harper_tls_certificate_not_after_timestamp_seconds{{entry=\"{name}\",name=\"localhost\"}}"
        );
        assert!(server.metric(&metric) > 0.0, "{name}");
    }
}

#[test]
fn the_operations_api_has_certificates_of_its_own_and_asks_nobody_for_one() {
    let (home, authority) = (Home::empty(), Authority::new("test authority"));
    let [main, own, next] = [(); 3].map(|()| authority.server(&["localhost"]));
    let [certificate, key] = [("o.crt", &own.certificate), ("o.key", &own.key)]
        .map(|(name, text)| home.write(name, text).display().to_string());
    let config = json!({
        "tls": {"certificate": main.certificate, "privateKey": main.key, "certificateAuthority": authority.pem},
        "http": {"securePort": "127.0.0.1:0", "mtls": {"required": true}},
        "operationsApi": {
            "network": {"securePort": "127.0.0.1:0"},
            "tls": {"certificate": certificate, "privateKey": key, "minVersion": "1.3"},
        },
    });
    let server = home.launch().configured(&config).start();
    let (https, operations) = (server.https(), server.operations_address());
    let client = Tls::trusting(&authority.pem);
    let answered = |address: SocketAddr| {
        let mut secure = client.connect(address, "localhost").ok()?;
        secure.get("/health").try_reply().map(|reply| reply.status)
    };
    assert_eq!(answered(operations), Some(200));
    assert_eq!(answered(https), None, "no certificate was shown");
    assert!(client.certificate_for(operations, "localhost") == der(&own.certificate));
    let old = Tls::with(&authority.pem, &[&rustls::version::TLS12], None);
    assert!(old.connect(operations, "localhost").is_err());
    home.write("o.crt", &next.certificate);
    home.write("o.key", &next.key);
    eventually("the new certificate is used", || {
        let used = client.certificate_for(operations, "localhost");
        (used == der(&next.certificate)).then_some(())
    });
}
