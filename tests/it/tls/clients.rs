//! Clients with certificates of their own.

use super::certificates::{Authority, Pair};
use super::client::Tls;
use crate::harness::server::USERNAME;
use crate::harness::{Home, Reply, Server, client::basic, eventually};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A server, who answers for its certificate, and who for those of its clients.
struct World {
    home: Arc<Home>,
    server: Server,
    address: SocketAddr,
    authority: Authority,
    clients: Authority,
}

impl World {
    fn start(mtls: &Value) -> Self {
        Self::start_with(mtls, &[])
    }

    fn start_with(mtls: &Value, pairs: &[&str]) -> Self {
        let home = Home::with_schema("type Dog @table @export { id: ID @primaryKey }");
        let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
        let pair = authority.server(&["localhost"]);
        let path = home.write("clients.pem", &clients.pem).display().to_string();
        let mut mtls = mtls.clone();
        if let Value::Object(members) = &mut mtls {
            members.insert("certificateAuthority".into(), json!(path));
        }
        let tls = json!({
            "certificate": pair.certificate, "privateKey": pair.key, "certificateAuthority": path,
        });
        let config = json!({"tls": tls, "http": {"securePort": "127.0.0.1:0", "mtls": mtls}});
        let launch = home.launch().set("threads.count=2").configured(&config);
        let launch = pairs.iter().fold(launch, |launch, pair| launch.set(pair));
        let server = launch.set("authentication.authorizeLocal=false").start();
        let address = server.https();
        Self { home, server, address, authority, clients }
    }

    /// What a client with this certificate is answered; none when the handshake or what follows it fails.
    fn get(&self, own: Option<&Pair>, headers: &str) -> Option<Reply> {
        self.get_with(own, headers, rustls::ALL_VERSIONS)
    }

    fn get_with(
        &self,
        own: Option<&Pair>,
        headers: &str,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Option<Reply> {
        let client = Tls::with(&self.authority.pem, versions, own);
        let mut secure = client.connect(self.address, "localhost").ok()?;
        secure.send(format!("GET /Dog/ HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
        secure.try_reply()
    }

    fn status(&self, own: Option<&Pair>) -> Option<u16> {
        self.get(own, "").map(|reply| reply.status)
    }
}

#[test]
fn a_certificate_stands_for_the_user_of_its_common_name() {
    let world = World::start(&json!(true));
    let (admin, nobody) = (world.clients.client(USERNAME), world.clients.client("nobody"));
    for version in [&TLS12, &TLS13] {
        assert_eq!(world.get_with(Some(&admin), "", &[version]).unwrap().status, 200);
    }
    let refused = world.get(Some(&nobody), "").unwrap().expect(401);
    assert_eq!(refused.error(), "The certificate is not that of a user");
    assert_eq!(world.status(None), Some(401), "a certificate is not required, a login is");
    let password = crate::harness::server::PASSWORD;
    let login = format!("Authorization: {}\r\n", basic(&format!("{USERNAME}:{password}")));
    assert_eq!(world.get(None, &login).unwrap().status, 200);
    assert_eq!(world.get(Some(&nobody), &login).unwrap().status, 200);
    let stranger = Authority::new("strangers").client(USERNAME);
    assert_eq!(world.status(Some(&stranger)), None, "no handshake");
    assert!(world.server.metric("harper_tls_handshakes_total{result=\"certificate\"}") >= 1.0);
}

#[test]
fn a_certificate_lends_nothing_to_a_password() {
    let world = World::start_with(&json!(true), &["operationsApi.network.port=127.0.0.1:0"]);
    let own = world.clients.client(USERNAME);
    let operations = world.server.operations();
    for (name, password) in [("certificate", USERNAME), (USERNAME, "")] {
        for _ in 0..8 {
            assert_eq!(world.status(Some(&own)), Some(200));
        }
        let body = json!({
            "operation": "create_authentication_tokens", "username": name, "password": password,
        });
        operations.post("/", &body.to_string()).expect(401);
    }
}

#[test]
fn a_required_certificate_is_required() {
    let world = World::start(&json!({"required": true}));
    assert_eq!(world.status(None), None);
    assert_eq!(world.status(Some(&world.clients.client(USERNAME))), Some(200));
}

#[test]
fn a_fixed_user_stands_for_every_certificate_and_null_for_none() {
    let world = World::start(&json!({"user": USERNAME}));
    assert_eq!(world.status(Some(&world.clients.client("anybody"))), Some(200));
    let world = World::start(&json!({"user": null}));
    let own = world.clients.client(USERNAME);
    assert_eq!(world.get(Some(&own), "").unwrap().expect(401).error(), "Must login");
}

#[test]
fn changed_authorities_hold_for_resumed_sessions_too() {
    let world = World::start(&json!({"required": true}));
    let own = world.clients.client(USERNAME);
    for version in [&TLS12, &TLS13] {
        world.home.write("clients.pem", &world.clients.pem);
        let client = Tls::with(&world.authority.pem, &[version], Some(&own));
        let ask = || {
            let mut secure = client.connect(world.address, "localhost").ok()?;
            secure.get("/Dog/").try_reply().map(|reply| reply.status)
        };
        eventually("the authority is the first one", ask);
        assert_eq!(ask(), Some(200), "the second time with a ticket");
        world.home.write("clients.pem", &Authority::new("others").pem);
        eventually("the ticket is worth nothing", || ask().is_none().then_some(()));
    }
}

#[test]
fn a_certificate_that_has_expired_is_no_longer_good_for_its_session() {
    let world = World::start(&json!({"required": true}));
    let lasting = world.clients.client(USERNAME);
    for version in [&TLS12, &TLS13] {
        let soon = SystemTime::now() + Duration::from_secs(6);
        let own = world.clients.client_with(USERNAME, |params| params.not_after = soon.into());
        let ask = |client: &Tls| {
            let mut secure = client.connect(world.address, "localhost").ok()?;
            let status = secure.get("/Dog/").try_reply().map(|reply| reply.status);
            status.map(|status| (status, secure.stream.conn.handshake_kind().unwrap()))
        };
        let [short, long] =
            [&own, &lasting].map(|own| Tls::with(&world.authority.pem, &[version], Some(own)));
        for client in [&short, &long] {
            assert_eq!(ask(client), Some((200, HandshakeKind::Full)));
            assert_eq!(ask(client), Some((200, HandshakeKind::Resumed)));
        }
        eventually("the certificate has expired", || ask(&short).is_none().then_some(()));
        assert_eq!(ask(&long), Some((200, HandshakeKind::Resumed)));
    }
    assert!(world.server.metric("harper_tls_handshakes_total{result=\"certificate\"}") >= 2.0);
}
