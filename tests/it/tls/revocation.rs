//! Certificates of clients that their authority has taken back.

use super::certificates::{Authority, Pair};
use super::client::Tls;
use crate::harness::server::{USERNAME, text};
use crate::harness::{Home, Server, eventually};
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, date_time_ymd};
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use std::sync::Arc;

/// A list of an authority: the numbers of what is revoked, and until which year it is in force.
fn list(authority: &Authority, revoked: &[u64], until: i32) -> String {
    let revoked = revoked.iter().map(|number| RevokedCertParams {
        serial_number: (*number).into(),
        revocation_time: date_time_ymd(2024, 1, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(until, 1, 1),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&authority.issuer).unwrap().pem().unwrap()
}

/// A certificate with this number.
fn numbered(authority: &Authority, number: u64) -> Pair {
    authority.client_with(USERNAME, |params| params.serial_number = Some(number.into()))
}

/// Servers that ask for certificates of `clients` and look into `lists.pem`.
struct World {
    home: Arc<Home>,
    servers: Authority,
    clients: Authority,
}

impl World {
    fn new(lists: &str) -> Self {
        let home = Home::with_schema("type Dog @table @export { id: ID @primaryKey }");
        home.write("lists.pem", lists);
        Self { home, servers: Authority::new("servers"), clients: Authority::new("clients") }
    }

    fn config(&self, mode: &str) -> serde_json::Value {
        let pair = self.servers.server(&["localhost"]);
        let lists = self.home.path("lists.pem").display().to_string();
        let mtls = json!({
            "required": true,
            "certificateAuthority": self.clients.pem,
            "certificateVerification": {"failureMode": mode, "crl": {"file": lists}},
        });
        let tls = json!({"certificate": pair.certificate, "privateKey": pair.key});
        json!({"tls": tls, "http": {"securePort": "127.0.0.1:0", "mtls": mtls}})
    }

    fn start(&self, mode: &str) -> Server {
        let launch = self.home.launch().configured(&self.config(mode));
        launch.set("authentication.authorizeLocal=false").start()
    }

    fn client(&self, own: &Pair) -> Tls {
        Tls::with(&self.servers.pem, rustls::ALL_VERSIONS, Some(own))
    }
}

/// What a client is answered; none when there is no connection.
fn ask(server: &Server, client: &Tls) -> Option<u16> {
    let mut secure = client.connect(server.https(), "localhost").ok()?;
    secure.get("/Dog/").try_reply().map(|reply| reply.status)
}

#[test]
fn a_revoked_certificate_is_refused_in_both_modes() {
    let world = World::new("");
    world.home.write("lists.pem", list(&world.clients, &[7], 2100));
    for mode in ["fail-closed", "fail-open"] {
        let server = world.start(mode);
        assert_eq!(ask(&server, &world.client(&numbered(&world.clients, 8))), Some(200), "{mode}");
        assert_eq!(ask(&server, &world.client(&numbered(&world.clients, 7))), None, "{mode}");
        let refused = "harper_tls_handshakes_total{result=\"certificate\"}";
        assert_eq!(server.metric(refused), 1.0, "{mode}");
    }
}

#[test]
fn without_a_list_in_force_the_mode_decides_and_a_forged_list_refuses() {
    let world = World::new("");
    let others = Authority::new("others");
    // of the same name, by another key
    let forged = Authority::new("clients");
    let client = world.client(&numbered(&world.clients, 8));
    for (lists, mode, expected) in [
        (list(&others, &[], 2100), "fail-closed", None),
        (list(&others, &[], 2100), "fail-open", Some(200)),
        (list(&world.clients, &[], 2025), "fail-closed", None),
        (list(&world.clients, &[], 2025), "fail-open", Some(200)),
        (list(&forged, &[], 2100), "fail-closed", None),
        (list(&forged, &[], 2100), "fail-open", None),
    ] {
        world.home.write("lists.pem", &lists);
        assert_eq!(ask(&world.start(mode), &client), expected, "{mode}: {lists}");
    }
}

#[test]
fn a_new_list_holds_at_once_and_for_resumed_sessions_too() {
    let world = World::new("");
    let own = numbered(&world.clients, 7);
    world.home.write("lists.pem", list(&world.clients, &[], 2100));
    let server = world.start("fail-open");
    let [old, new] =
        [&TLS12, &TLS13].map(|version| Tls::with(&world.servers.pem, &[version], Some(&own)));
    for client in [&old, &new] {
        assert_eq!(ask(&server, client), Some(200));
        assert_eq!(ask(&server, client), Some(200), "the second time with a ticket");
    }
    world.home.write("lists.pem", list(&world.clients, &[7], 2100));
    for client in [&old, &new] {
        eventually("the certificate is revoked", || ask(&server, client).is_none().then_some(()));
    }
    // a broken list is not taken: what was revoked stays so
    world.home.write("lists.pem", "nothing");
    server.line("there is no revocation list in it");
    assert_eq!(ask(&server, &new), None);
}

#[test]
fn a_file_without_lists_is_refused_at_start() {
    for (lists, why) in [
        ("", "there is no revocation list in it"),
        ("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "could not be parsed"),
    ] {
        let world = World::new(lists);
        let output = world.home.launch().configured(&world.config("fail-open")).fail();
        let said = text(&output.stderr);
        assert!(said.contains("certificateVerification.crl.file") && said.contains(why), "{said}");
    }
}
