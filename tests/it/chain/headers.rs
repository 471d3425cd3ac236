//! Headers of every answer: what the server says of itself, and what browsers are told.

use super::home;
use crate::harness::Reply;

#[test]
fn what_the_server_says_of_itself_can_be_changed_and_kept_back() {
    let reply = home().start().client().get("/Dog/").expect(200);
    assert_eq!(reply.header("server"), "HarperDB");
    assert!(reply.header("server-timing").starts_with("hdb;dur="), "{reply}");
    let server = home().launch().set("http.serverHeader=shop").set("http.serverTiming=false");
    let reply = server.start().client().get("/Dog/").expect(200);
    assert_eq!(reply.header("server"), "shop");
    assert!(!reply.has("server-timing"), "{reply}");
    let home = home();
    home.write("root/harperdb-config.yaml", "http: {serverHeader: ''}\n");
    assert!(!home.start().client().get("/Dog/").expect(200).has("server"));
}

const ALL: [&str; 7] = [
    "x-content-type-options",
    "content-security-policy",
    "x-frame-options",
    "referrer-policy",
    "permissions-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
];

fn sent(reply: &Reply) -> Vec<&'static str> {
    ALL.into_iter().filter(|name| reply.has(name)).collect()
}

#[test]
fn security_headers_are_as_configured_on_every_answer() {
    let paths = [("/Dog/", 200), ("/nothing", 404), ("/Dog/?x=1", 400)];
    for (setting, expected) in [
        ("", &ALL[..1]),
        ("http: {securityHeaders: false}", &[]),
        ("http: {securityHeaders: true}", &ALL),
        (
            "http: {securityHeaders: {X-Frame-Options: null, Permissions-Policy: null}}",
            &[
                "x-content-type-options",
                "content-security-policy",
                "referrer-policy",
                "cross-origin-opener-policy",
                "cross-origin-resource-policy",
            ],
        ),
    ] {
        let home = home();
        home.write("root/harperdb-config.yaml", setting);
        let server = home.start();
        for (path, status) in paths {
            let reply = server.client().get(path).expect(status);
            assert_eq!(sent(&reply), expected, "{setting}: {reply}");
            assert!(!reply.has("strict-transport-security"), "not over plain HTTP: {reply}");
        }
    }
}

#[test]
fn a_client_that_speaks_tls_to_a_trusted_proxy_is_told_to_go_on_with_it() {
    let launch = home().launch().set("http.trustedProxies=127.0.0.1");
    let server = launch.set("http.securityHeaders={Strict-Transport-Security: max-age=60}").start();
    let client = server.client();
    let ask = client.request("GET", "/nothing").header("x-forwarded-proto", "https");
    assert_eq!(ask.send().expect(404).header("strict-transport-security"), "max-age=60");
    let ask = client.request("GET", "/nothing").header("x-forwarded-proto", "http");
    assert!(!ask.send().expect(404).has("strict-transport-security"));
}

#[test]
fn a_header_that_is_none_is_refused_at_the_start() {
    let output = home().launch().set("http.securityHeaders={a b: c}").fail();
    assert_eq!(output.status.code(), Some(64));
    let output = home().launch().set("http.serverHeader=caf\u{e9}").fail();
    assert_eq!(output.status.code(), Some(64));
}
