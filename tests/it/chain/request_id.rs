//! The id of a request.

use super::home;
use crate::harness::Server;
use std::collections::HashSet;

fn id(server: &Server, given: &str) -> String {
    let client = server.client();
    let ask = client.request("GET", "/nothing").header("x-request-id", given);
    let reply = ask.send().expect(404);
    let id = reply.header("x-request-id").to_owned();
    assert_eq!(reply.json()["requestId"], id, "the error names it too");
    id
}

#[test]
fn every_answer_has_its_own_and_a_strangers_is_not_taken() {
    let server = home().start();
    let ids: HashSet<_> = (0..20).map(|_| id(&server, "mine")).collect();
    assert_eq!(ids.len(), 20);
    assert!(!ids.contains("mine"));
    assert!(server.client().get("/Dog/").expect(200).has("x-request-id"));
}

#[test]
fn a_trusted_proxys_is_taken_when_it_is_one() {
    let server = home().launch().set("http.trustedProxies=127.0.0.1").start();
    assert_eq!(id(&server, "7f3b/1:x"), "7f3b/1:x");
    assert_ne!(id(&server, "two words"), "two words");
    assert_ne!(id(&server, &"a".repeat(129)), "a".repeat(129));
}

#[test]
fn its_header_can_have_another_name_and_stay_at_home() {
    let server = home().launch().set("http.requestId.header=X-Correlation-Id").start();
    let reply = server.client().get("/nothing").expect(404);
    assert_eq!(reply.json()["requestId"], reply.header("x-correlation-id"));
    assert!(!reply.has("x-request-id"));
    let server = home().launch().set("http.requestId.send=false").start();
    let reply = server.client().get("/nothing").expect(404);
    assert!(!reply.has("x-request-id"));
    assert!(reply.json()["requestId"].is_string());
}
