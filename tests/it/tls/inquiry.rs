//! Certificates of clients that their authority is asked about, over the network.

mod office;
mod outage;

use super::certificates::{Authority, Pair};
use super::client::Tls;
use crate::h2::frames::{Frames, get};
use crate::harness::server::{PASSWORD, USERNAME, text};
use crate::harness::{Home, Reply, Server, eventually};
use crate::mqtt::client::{Mqtt, connect, with_login};
use harper_mqtt::{Reason, Version};
use office::{Office, OpenSsl, delegate, list, with_list, with_ocsp};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use std::sync::Arc;

const REVOKED: &str = "The client certificate was revoked";
const UNKNOWN: &str = "Whether the client certificate was revoked could not be found out";

/// Authorities, and where they can be asked.
struct World {
    home: Arc<Home>,
    servers: Authority,
    clients: Authority,
    office: Office,
}

impl World {
    fn new() -> Self {
        let home = Home::with_schema("type Dog @table @export { id: ID @primaryKey }");
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        Self { home, servers, clients, office: Office::open() }
    }

    fn start(&self, verification: &Value) -> Server {
        let pair = self.servers.server(&["localhost"]);
        let mtls = json!({
            "certificateAuthority": self.clients.pem,
            "certificateVerification": verification,
        });
        let tls = json!({"certificate": pair.certificate, "privateKey": pair.key});
        let http = json!({"securePort": "127.0.0.1:0", "http2": true, "mtls": mtls});
        let launch = self.home.launch().configured(&json!({"tls": tls, "http": http}));
        launch.set("authentication.authorizeLocal=false").start()
    }

    /// A client whose certificate has this number and this change.
    fn client(&self, number: u64, change: impl FnOnce(&mut CertificateParams)) -> Tls {
        let own = self.clients.client_with(USERNAME, |params| {
            params.serial_number = Some(number.into());
            change(params);
        });
        self.with(&own)
    }

    fn with(&self, own: &Pair) -> Tls {
        Tls::with(&self.servers.pem, rustls::ALL_VERSIONS, Some(own))
    }

    /// One that says that a list is under this path.
    fn listed(&self, number: u64, path: &str) -> Tls {
        self.client(number, |params| with_list(params, &format!("{}{path}", self.office.url)))
    }

    /// One that says that OCSP is answered under this path.
    fn answered(&self, number: u64, path: &str) -> Tls {
        self.client(number, |params| with_ocsp(params, &format!("{}{path}", self.office.url)))
    }

    /// The authority's own certificate and key.
    fn authority(&self) -> Pair {
        Pair {
            certificate: self.clients.pem.clone(),
            key: self.clients.issuer.key().serialize_pem(),
        }
    }
}

fn dogs(server: &Server, client: &Tls) -> Reply {
    client.connect(server.https(), "localhost").unwrap().get("/Dog/").reply()
}

fn metric(server: &Server, name: &str, labels: &str) -> f64 {
    server.metric(&format!("{name}{{{labels}}}"))
}

/// Why a client is refused; nothing when it is let in.
#[track_caller]
fn refusal(server: &Server, client: &Tls) -> String {
    let reply = dogs(server, client);
    if reply.status == 200 {
        return String::new();
    }
    assert_eq!(reply.header("connection"), "close");
    reply.expect(401).error()
}

#[test]
fn lists_are_fetched_from_where_certificates_say() {
    let world = World::new();
    let (own, office) = (&world.clients, &world.office);
    office.serve("/good", 200, list(own, &[7], 3600));
    office.serve("/late", 200, list(own, &[7], -60));
    office.serve("/old", 200, list(own, &[7], -90_000));
    office.serve("/forged", 200, list(&Authority::new("clients"), &[], 3600));
    office.serve("/other", 200, list(&Authority::new("others"), &[], 3600));
    office.serve("/nonsense", 200, b"0\x03abc".to_vec());
    office.serve("/moved", 302, vec![]);
    office.serve("/large", 200, vec![b'0'; 70_000]);
    office.answer("/silent", |_| None);
    let crl = json!({"timeout": 500, "bytesMax": 65_536});
    for (mode, unknown) in [("fail-closed", UNKNOWN), ("fail-open", "")] {
        let server = world.start(&json!({"failureMode": mode, "crl": crl}));
        let judged = |client: &Tls, expected: &str, what: &str| {
            assert_eq!(refusal(&server, client), expected, "{mode}: {what}");
        };
        judged(&world.listed(8, "/good"), "", "good");
        judged(&world.listed(7, "/good"), REVOKED, "revoked");
        judged(&world.listed(8, "/late"), "", "out of date, within the grace");
        judged(&world.listed(7, "/late"), REVOKED, "out of date, within the grace");
        judged(&world.listed(8, "/forged"), UNKNOWN, "forged, in either mode");
        judged(&world.client(8, |_| ()), unknown, "a certificate that names nobody");
        for path in ["/old", "/other", "/nonsense", "/moved", "/large", "/silent", "/absent"] {
            judged(&world.listed(8, path), unknown, path);
        }
        if mode == "fail-open" {
            server.line("let in a client certificate that may have been revoked");
        }
        let count = |source: &str, result: &str| {
            let labels = format!("source=\"{source}\",result=\"{result}\"");
            metric(&server, "harper_tls_revocation_answers_total", &labels)
        };
        assert_eq!([count("crl", "good"), count("crl", "revoked")], [2.0, 2.0]);
        assert_eq!([count("crl", "forged"), count("none", "unknown")], [1.0, 1.0]);
    }
    assert_eq!(office.asked("/good"), 2, "once by each server");
}

#[test]
fn openssl_answers_by_ocsp() {
    let world = World::new();
    let (own, office) = (&world.clients, &world.office);
    let known = (&[8][..], &[7][..]);
    let serve = |path: &'static str, signer: &Pair, arguments| {
        let openssl = OpenSsl::new(&world.home, &path[1..], own, signer, known, arguments);
        office.answer(path, move |question| Some((200, openssl.answer(question))));
    };
    let charged = delegate(own, ExtendedKeyUsagePurpose::OcspSigning);
    serve("/direct", &world.authority(), &["-nmin", "5"]);
    serve("/timeless", &world.authority(), &[]);
    serve("/delegated", &charged, &["-nmin", "5"]);
    serve("/unauthorized", &delegate(own, ExtendedKeyUsagePurpose::ClientAuth), &[]);
    let strangers = delegate(&Authority::new("clients"), ExtendedKeyUsagePurpose::OcspSigning);
    serve("/stranger", &strangers, &[]);
    // the answer to another question
    let openssl = OpenSsl::new(&world.home, "other", own, &charged, known, &[]);
    office.answer("/other", move |question| {
        let mut other = question.to_vec();
        let last = other.len() - 1;
        assert_eq!(other[last], 9, "the number of the certificate is at the end");
        other[last] = 8;
        Some((200, openssl.answer(&other)))
    });
    // OCSPResponseStatus tryLater
    office.serve("/busy", 200, vec![0x30, 3, 0x0a, 1, 3]);
    office.answer("/silent", |_| None);
    let ocsp = json!({"timeout": 1500});
    for (mode, unknown) in [("fail-closed", UNKNOWN), ("fail-open", "")] {
        let server = world.start(&json!({"failureMode": mode, "ocsp": ocsp}));
        for (path, number, expected) in [
            ("/direct", 8, ""),
            ("/direct", 7, REVOKED),
            ("/direct", 9, unknown),
            ("/timeless", 8, ""),
            ("/timeless", 7, REVOKED),
            ("/delegated", 8, ""),
            ("/delegated", 7, REVOKED),
            ("/unauthorized", 8, unknown),
            ("/stranger", 7, unknown),
            ("/other", 9, unknown),
            ("/busy", 8, unknown),
            ("/silent", 8, unknown),
            ("/absent", 8, unknown),
        ] {
            let client = world.answered(number, path);
            assert_eq!(refusal(&server, &client), expected, "{mode}: {path} {number}");
        }
        let told = "source=\"ocsp\",result=\"told\"";
        assert_eq!(metric(&server, "harper_tls_revocation_fetches_total", told), 7.0);
    }
}

#[test]
fn an_answer_is_remembered_and_awaited_by_all() {
    let world = World::new();
    let own = &world.clients;
    let openssl = OpenSsl::new(
        &world.home,
        "ocsp",
        own,
        &world.authority(),
        (&[1, 2, 3], &[]),
        &["-nmin", "9"],
    );
    world.office.answer("/ocsp", move |question| Some((200, openssl.answer(question))));
    let server = world.start(&json!({"cacheMax": 2, "ocsp": {"errorCacheTtl": 300}}));
    let first = world.answered(1, "/ocsp");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(refusal(&server, &first), ""));
        }
    });
    assert_eq!(world.office.asked("/ocsp"), 1);
    // with a third answer one of the first two is forgotten
    for number in [2, 3] {
        assert_eq!(refusal(&server, &world.answered(number, "/ocsp")), "");
    }
    assert_eq!(world.office.asked("/ocsp"), 3);
    let kept = "harper_tls_revocation_cached";
    assert_eq!(metric(&server, kept, "source=\"ocsp\""), 2.0);
    // what could not be had is remembered, too, but not for long
    let client = world.answered(1, "/later");
    for _ in 0..2 {
        assert_eq!(refusal(&server, &client), UNKNOWN);
    }
    let openssl =
        OpenSsl::new(&world.home, "later", own, &world.authority(), (&[1], &[]), &["-nmin", "9"]);
    world.office.answer("/later", move |question| Some((200, openssl.answer(question))));
    eventually("it is asked again", || refusal(&server, &client).is_empty().then_some(()));
}

#[test]
fn a_list_is_fetched_anew_and_its_absence_bridged() {
    let world = World::new();
    let own = &world.clients;
    world.office.serve("/list", 200, list(own, &[], 3600));
    let server = world.start(&json!({"crl": {"cacheTtl": 400, "gracePeriod": 0}}));
    let client = world.listed(7, "/list");
    assert_eq!(refusal(&server, &client), "");
    // the list that is there is still in force
    world.office.serve("/list", 500, vec![]);
    eventually("it was asked for in vain", || {
        assert_eq!(refusal(&server, &client), "");
        let failed = "source=\"crl\",result=\"failed\"";
        (metric(&server, "harper_tls_revocation_fetches_total", failed) > 0.0).then_some(())
    });
    drop(server);
    let server = world.start(&json!({"crl": {"cacheTtl": 400}}));
    world.office.serve("/list", 200, list(own, &[], 3600));
    assert_eq!(refusal(&server, &client), "");
    world.office.serve("/list", 200, list(own, &[7], 3600));
    eventually("the new list tells", || (refusal(&server, &client) == REVOKED).then_some(()));
}

#[test]
fn ocsp_is_asked_where_no_list_tells() {
    let world = World::new();
    let own = &world.clients;
    let openssl =
        OpenSsl::new(&world.home, "ocsp", own, &world.authority(), (&[8], &[7]), &["-nmin", "9"]);
    world.office.answer("/ocsp", move |question| Some((200, openssl.answer(question))));
    world.office.serve("/list", 200, list(own, &[], 3600));
    let both = |number: u64, path: &str| {
        world.client(number, |params| {
            with_list(params, &format!("{}{path}", world.office.url));
            with_ocsp(params, &format!("{}/ocsp", world.office.url));
        })
    };
    let server = world.start(&json!(true));
    assert_eq!(refusal(&server, &both(7, "/absent")), REVOKED);
    assert_eq!(refusal(&server, &both(8, "/absent")), "");
    assert_eq!(refusal(&server, &both(7, "/list")), "", "the list tells, and is asked first");
    drop(server);
    let server = world.start(&json!({"crl": false}));
    assert_eq!(refusal(&server, &both(7, "/list")), REVOKED);
    drop(server);
    // the mode of what was asked last counts
    let open = json!({"crl": {"failureMode": "fail-open"}, "ocsp": {"enabled": false}});
    assert_eq!(refusal(&world.start(&open), &both(7, "/absent")), "");
}

#[test]
fn every_certificate_up_to_the_authority_is_asked_about() {
    let world = World::new();
    let url = |path: &str| format!("{}{path}", world.office.url);
    let mut params = CertificateParams::default();
    params.distinguished_name = super::certificates::named("between");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.serial_number = Some(7_u64.into());
    with_list(&mut params, &url("/root"));
    let key = KeyPair::generate().unwrap();
    let pem = params.signed_by(&key, &world.clients.issuer).unwrap().pem();
    let between = Authority { issuer: Issuer::new(params, key), pem };
    world.office.serve("/between", 200, list(&between, &[], 3600));
    let mut own = between.client_with(USERNAME, |params| with_list(params, &url("/between")));
    own.certificate.push_str(&between.pem);
    for (revoked, expected) in [(&[][..], ""), (&[7][..], REVOKED)] {
        world.office.serve("/root", 200, list(&world.clients, revoked, 3600));
        assert_eq!(refusal(&world.start(&json!(true)), &world.with(&own)), expected);
    }
}

#[test]
fn a_refused_client_is_told_to_go_on_http2() {
    let world = World::new();
    world.office.serve("/list", 200, list(&world.clients, &[7], 3600));
    let server = world.start(&json!(true));
    let client = world.listed(7, "/list");
    let client = client.changed(|config| config.alpn_protocols = vec![b"h2".to_vec()]);
    let mut frames = Frames::over(client.connect(server.https(), "localhost").unwrap());
    frames.greet();
    frames.send(get(1, "/Dog/"));
    let (status, body) = frames.answer(1).unwrap();
    assert!(status == 401 && text(&body).contains(REVOKED), "{status} {}", text(&body));
    frames.ended();
}

#[test]
fn a_resumed_session_is_asked_about() {
    let world = World::new();
    world.office.serve("/list", 200, list(&world.clients, &[], 3600));
    let server = world.start(&json!({"crl": {"cacheTtl": 300}}));
    let client = world.listed(7, "/list");
    assert_eq!(refusal(&server, &client), "");
    world.office.serve("/list", 200, list(&world.clients, &[7], 3600));
    eventually("the session is worth nothing", || {
        let mut secure = client.connect(server.https(), "localhost").unwrap();
        let status = secure.get("/Dog/").reply().status;
        let kind = secure.stream.conn.handshake_kind();
        assert_eq!(kind, Some(rustls::HandshakeKind::Resumed));
        (status == 401).then_some(())
    });
    for (version, resumed) in [("1.2", "true"), ("1.3", "false"), ("1.3", "true")] {
        let labels = format!("version=\"{version}\",resumed=\"{resumed}\"");
        let is_some = metric(&server, "harper_tls_sessions_total", &labels) > 0.0;
        assert_eq!(is_some, version == "1.3", "{labels}");
    }
}

#[test]
fn lists_of_a_file_and_questions_go_together() {
    let world = World::new();
    world.home.write("lists.der", list(&world.clients, &[7], 3600));
    world.office.serve("/list", 200, list(&world.clients, &[9], 3600));
    let file = world.home.path("lists.der").display().to_string();
    let server = world.start(&json!({"crl": {"file": file, "enabled": true}}));
    let revoked = world.listed(7, "/list").connect(server.https(), "localhost");
    let fails =
        revoked.is_err() || revoked.is_ok_and(|mut own| own.get("/Dog/").try_reply().is_none());
    assert!(fails, "no handshake");
    assert_eq!(refusal(&server, &world.listed(9, "/list")), "", "the file tells, and is in force");
    drop(server);
    // of whom it does not tell, and once it is out of date
    world.home.write("lists.der", list(&world.clients, &[7], -60));
    let server = world.start(&json!({"crl": {"file": file, "enabled": true}}));
    assert_eq!(refusal(&server, &world.listed(8, "/list")), "");
    assert_eq!(refusal(&server, &world.listed(9, "/list")), REVOKED);
}

#[test]
fn a_client_of_mqtt_with_a_revoked_certificate_is_refused_whatever_else_it_brings() {
    let world = World::new();
    world.office.serve("/list", 200, list(&world.clients, &[7], 3600));
    let pair = world.servers.server(&["localhost"]);
    let mtls = json!({
        "certificateAuthority": world.clients.pem,
        "certificateVerification": {"crl": true, "ocsp": false},
    });
    let network = json!({"securePort": "127.0.0.1:0", "mtls": mtls});
    let tls = json!({"certificate": pair.certificate, "privateKey": pair.key});
    let launch = world.home.launch().configured(&json!({"tls": tls, "mqtt": {"network": network}}));
    let server = launch.set("authentication.authorizeLocal=false").start();
    let reason = |number, connect| {
        let client = world.listed(number, "/list");
        let secure = client.connect(server.mqtts(), "localhost").unwrap();
        Mqtt::over(secure.stream, Version::V5).open(connect).reason
    };
    let nameless = || connect(Version::V5, "a");
    assert_eq!(reason(8, nameless()), Reason::Success);
    assert_eq!(reason(7, nameless()), Reason::NotAuthorized);
    let login = with_login(nameless(), USERNAME, PASSWORD);
    assert_eq!(reason(7, login), Reason::NotAuthorized);
}
