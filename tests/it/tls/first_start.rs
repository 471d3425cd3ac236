//! A server without a certificate makes itself one.

use super::client::Tls;
use crate::harness::Home;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_first_start_makes_a_certificate_that_is_kept() {
    let home = Home::with_schema("type Dog @table @export { id: ID @primaryKey }");
    let server = home.launch().set("http.securePort=127.0.0.1:0").start();
    let keys = home.path("root/keys");
    let authority = std::fs::read_to_string(keys.join("ca.pem")).unwrap();
    let mode = |name: &str| keys.join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("privateKey.pem"), 0o600);
    let client = Tls::trusting(&authority);
    let address = server.https();
    let first = client.certificate_for(address, "localhost");
    for name in ["127.0.0.1", "::1"] {
        assert_eq!(client.certificate_for(address, name), first, "{name}");
    }
    let mut secure = client.connect(address, "localhost").unwrap();
    secure.send("PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    secure.reply().expect(204);
    assert_eq!(secure.get("/Dog/1").reply().expect(200).text(), r#"{"id":"1"}"#);
    assert_eq!(server.client().get("/Dog/1").text(), r#"{"id":"1"}"#, "the plain port serves, too");
    assert!(server.log().contains("self-signed"), "{}", server.log());
    let home = server.stop();
    let again = home.launch().set("http.securePort=127.0.0.1:0").start();
    let address = again.https();
    assert_eq!(client.certificate_for(address, "localhost"), first, "a restart keeps it");
}

#[test]
fn without_a_secure_port_no_certificate_is_made() {
    let home = Home::with_schema("type Dog @table @export { id: ID @primaryKey }");
    let _server = home.start();
    assert!(!home.path("root/keys/privateKey.pem").exists());
}

#[test]
fn half_a_pair_is_no_reason_to_overwrite_it() {
    let home = Home::with_schema("type Dog @table @export { id: ID @primaryKey }");
    home.write("root/keys/privateKey.pem", "mine");
    let output = home.launch().set("http.securePort=127.0.0.1:0").fail();
    assert_eq!(output.status.code(), Some(64));
    let said = crate::harness::server::text(&output.stderr);
    assert!(said.contains("tls.certificate") && said.contains("tls.privateKey"), "{said}");
    assert_eq!(std::fs::read(home.path("root/keys/privateKey.pem")).unwrap(), b"mine");
}
