//! `tls.*` and `operationsApi.tls.*`: certificates, and what is said of them.

use super::{Case, Live};
use crate::harness::eventually;
use crate::tls::certificates::{Authority, Pair};
use crate::tls::client::{Tls, der};
use rustls::CipherSuite;
use rustls::version::TLS12;
use serde_json::{Value, json};
use std::net::SocketAddr;

pub(super) const CASES: &[Case] = &[
    ("tls", |live| list(live, &APPLICATION)),
    ("tls.certificate", |live| certificate(live, &APPLICATION)),
    ("tls.privateKey", |live| private_key(live, &APPLICATION)),
    ("tls.certificateAuthority", certificate_authority),
    ("tls.host", |live| host(live, &APPLICATION)),
    ("tls.ciphers", |live| ciphers(live, &APPLICATION)),
    ("tls.minVersion", |live| min_version(live, &APPLICATION)),
    ("tls.uses", uses),
    ("operationsApi.tls", |live| list(live, &OPERATIONS)),
    ("operationsApi.tls.certificate", |live| certificate(live, &OPERATIONS)),
    ("operationsApi.tls.privateKey", |live| private_key(live, &OPERATIONS)),
    ("operationsApi.tls.host", |live| host(live, &OPERATIONS)),
    ("operationsApi.tls.ciphers", |live| ciphers(live, &OPERATIONS)),
    ("operationsApi.tls.minVersion", |live| min_version(live, &OPERATIONS)),
];

/// A listener with TLS.
struct Side {
    section: &'static str,
    address: fn(&Live) -> SocketAddr,
}

const APPLICATION: Side = Side { section: "tls", address: |live| live.server.https() };
const OPERATIONS: Side = Side { section: "operationsApi.tls", address: operations };

/// Where the Operations API speaks TLS: the last of its listeners.
fn operations(live: &Live) -> SocketAddr {
    eventually("the listeners of the Operations API", || {
        let log = live.server.log();
        let mut all = log.lines().filter_map(|line| line.split_once("operations on "));
        all.nth(1)?.1.parse().ok()
    })
}

impl Side {
    fn key(&self, member: &str) -> String {
        format!("{}.{member}", self.section)
    }

    /// Waits until a client that asks for `name` and trusts the authority gets this certificate.
    #[track_caller]
    fn shows(&self, live: &Live, authority: &Authority, name: &str, pair: &Pair) {
        let client = Tls::trusting(&authority.pem);
        eventually("the certificate", || {
            let secure = client.connect((self.address)(live), name).ok()?;
            let chain = secure.stream.conn.peer_certificates()?;
            (chain[0].as_ref() == der(&pair.certificate)).then_some(())
        });
    }
}

/// Two certificates for both of two names.
fn pairs() -> (Authority, [Pair; 2]) {
    let authority = Authority::new("test authority");
    let pair = || authority.server(&["a.example", "b.example"]);
    let pairs = [pair(), pair()];
    (authority, pairs)
}

fn entry(pair: &Pair, member: &str, value: &str) -> Value {
    json!({"certificate": pair.certificate, "privateKey": pair.key, member: value})
}

fn list(live: &Live, side: &Side) {
    let (authority, [first, second]) = pairs();
    let list = json!([entry(&first, "host", "a.example"), entry(&second, "host", "b.example")]);
    live.set(&[(side.section, list)]);
    side.shows(live, &authority, "b.example", &second);
    side.shows(live, &authority, "a.example", &first);
}

fn host(live: &Live, side: &Side) {
    let (authority, [first, second]) = pairs();
    for (names, shown) in
        [(["a.example", "b.example"], &first), (["b.example", "a.example"], &second)]
    {
        let list = json!([entry(&first, "host", names[0]), entry(&second, "host", names[1])]);
        live.set(&[(side.section, list)]);
        side.shows(live, &authority, "a.example", shown);
    }
}

fn certificate(live: &Live, side: &Side) {
    let (authority, pairs) = pairs();
    for pair in &pairs {
        let (certificate, key) = (json!(pair.certificate), json!(pair.key));
        live.set(&[(&side.key("certificate"), certificate), (&side.key("privateKey"), key)]);
        side.shows(live, &authority, "a.example", pair);
    }
}

/// A key that is not that of the certificate changes nothing.
fn private_key(live: &Live, side: &Side) {
    let (authority, [first, second]) = pairs();
    let refused = || live.server.metric("harper_tls_reload_failures_total");
    let set = |key: &Pair| {
        let (certificate, key) = (json!(first.certificate), json!(key.key));
        live.set(&[(&side.key("certificate"), certificate), (&side.key("privateKey"), key)]);
    };
    set(&first);
    side.shows(live, &authority, "a.example", &first);
    let before = refused();
    set(&second);
    eventually("the refusal", || (refused() > before).then_some(()));
    side.shows(live, &authority, "a.example", &first);
}

/// A client that trusts the certificate of a first start.
fn client(
    live: &Live,
    versions: &[&'static rustls::SupportedProtocolVersion],
    own: Option<&Pair>,
) -> Tls {
    let authority = std::fs::read_to_string(live.home.path("root/keys/ca.pem")).unwrap();
    Tls::with(&authority, versions, own)
}

fn ciphers(live: &Live, side: &Side) {
    let client = client(live, rustls::ALL_VERSIONS, None);
    live.set(&[(&side.key("ciphers"), json!("TLS_CHACHA20_POLY1305_SHA256"))]);
    eventually("the suite", || {
        let secure = client.connect((side.address)(live), "localhost").ok()?;
        let suite = secure.stream.conn.negotiated_cipher_suite()?.suite();
        (suite == CipherSuite::TLS13_CHACHA20_POLY1305_SHA256).then_some(())
    });
}

fn min_version(live: &Live, side: &Side) {
    let client = client(live, &[&TLS12], None);
    let connects = || client.connect((side.address)(live), "localhost").is_ok();
    eventually("the old version", || connects().then_some(()));
    live.set(&[(&side.key("minVersion"), json!("1.3"))]);
    eventually("its end", || (!connects()).then_some(()));
}

fn uses(live: &Live) {
    let (authority, [first, second]) = pairs();
    for (uses, shown) in [(["https", "operations"], &first), (["operations", "https"], &second)] {
        let list = json!([entry(&first, "uses", uses[0]), entry(&second, "uses", uses[1])]);
        live.set(&[("tls", list)]);
        APPLICATION.shows(live, &authority, "a.example", shown);
    }
}

fn certificate_authority(live: &Live) {
    let clients = Authority::new("clients");
    let client = client(live, rustls::ALL_VERSIONS, Some(&clients.client("anybody")));
    let is_known = || {
        let mut secure = client.connect(live.server.https(), "localhost").ok()?;
        secure.get("/Dog/").try_reply().map(|_| ())
    };
    assert_eq!(is_known(), None);
    live.set(&[("tls.certificateAuthority", json!(clients.pem))]);
    eventually("the authority", is_known);
}
