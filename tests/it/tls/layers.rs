//! What the layers of a request see of a secure connection.

use super::certificates::Authority;
use super::client::Tls;
use crate::harness::{Home, Server};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// A server with these `http` keys and a client that trusts it.
fn start(http: &Value) -> (Server, SocketAddr, Tls) {
    let home = Home::with_schema("type Dog @table @export { id: ID @primaryKey }");
    let authority = Authority::new("test authority");
    let pair = authority.server(&["localhost"]);
    let tls = json!({"certificate": pair.certificate, "privateKey": pair.key});
    let mut config = json!({"tls": tls, "http": http});
    config["http"]["securePort"] = json!("127.0.0.1:0");
    let server = home.launch().configured(&config).start();
    let address = server.https();
    (server, address, Tls::trusting(&authority.pem))
}

#[test]
fn the_log_and_the_headers_know_that_it_is_secure() {
    let http = json!({"logging": {"format": "json"}, "securityHeaders": true});
    let (server, address, client) = start(&http);
    let reply = client.connect(address, "localhost").unwrap().get("/Dog/").reply();
    assert_eq!(reply.header("strict-transport-security"), "max-age=31536000");
    let line: Value = serde_json::from_str(&server.line("/Dog/")).unwrap();
    assert_eq!((&line["protocol"], &line["tls"]), (&"HTTPS/1.1".into(), &"1.3".into()), "{line}");
    let (server, address, client) = start(&json!({"logging": {}}));
    client.connect(address, "localhost").unwrap().get("/Dog/").reply();
    assert!(
        server.line("/Dog/").contains("[http]: GET /Dog/ HTTPS/1.1 200"),
        "as Harper writes it"
    );
}

#[test]
fn the_proxy_protocol_comes_before_the_handshake() {
    let http = json!({
        "logging": {"format": "json"}, "proxyProtocol": true, "trustedProxies": ["127.0.0.1"],
    });
    let (server, address, client) = start(&http);
    let header = b"PROXY TCP4 203.0.113.9 10.0.0.1 40000 443\r\n";
    let mut wire = client.connect_after(header, address, "localhost").unwrap();
    assert_eq!(wire.get("/Dog/").reply().status, 401, "not from this machine");
    let line: Value = serde_json::from_str(&server.line("/Dog/")).unwrap();
    assert_eq!((&line["client"], &line["tls"]), (&"203.0.113.9".into(), &"1.3".into()), "{line}");
    assert!(client.connect(address, "localhost").is_err(), "without it there is no handshake");
}
