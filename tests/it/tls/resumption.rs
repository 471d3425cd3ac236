//! Sessions are resumed, by whichever worker the kernel gives the connection to.

use super::certificates::Authority;
use super::client::Tls;
use crate::harness::Home;
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use serde_json::json;

#[test]
fn any_worker_resumes_what_another_began() {
    let (home, authority) = (Home::empty(), Authority::new("test authority"));
    let pair = authority.server(&["localhost"]);
    let tls = json!({"certificate": pair.certificate, "privateKey": pair.key});
    let config = json!({"tls": tls, "http": {"securePort": "127.0.0.1:0"}});
    let server = home.launch().set("threads.count=4").configured(&config).start();
    let address = server.https();
    for version in [&TLS12, &TLS13] {
        let client = Tls::with(&authority.pem, &[version], None);
        let kinds: Vec<_> = (0..24)
            .map(|_| {
                let mut secure = client.connect(address, "localhost").unwrap();
                // tickets of TLS 1.3 come after the handshake
                secure.get("/").reply().expect(404);
                secure.stream.conn.handshake_kind().unwrap()
            })
            .collect();
        assert_eq!(kinds[0], HandshakeKind::Full);
        assert!(
            kinds[1..].iter().all(|kind| *kind == HandshakeKind::Resumed),
            "{version:?}: {kinds:?}"
        );
    }
}
