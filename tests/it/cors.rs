//! Requests of pages from other origins.

use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Client, Home, Reply, Server};
use std::sync::Arc;

fn home() -> Arc<Home> {
    Home::with_schema("type Dog @table @export { id: ID @primaryKey }")
}

fn ask(server: &Server, method: &str, origin: &str) -> Reply {
    send(&server.client().login(USERNAME, PASSWORD), method, origin)
}

fn send(client: &Client, method: &str, origin: &str) -> Reply {
    let ask = client.request(method, "/Dog/").header("origin", origin);
    ask.header("access-control-request-method", "PUT").send()
}

#[test]
fn by_default_every_origin_may_read_and_none_with_credentials() {
    let server = home().start();
    let read = ask(&server, "GET", "https://a.example").expect(200);
    assert_eq!(read.header("access-control-allow-origin"), "*");
    assert!(!read.has("access-control-allow-credentials"), "{read}");
    assert!(read.header("vary").contains("Origin"), "{read}");
    let preflight = ask(&server, "OPTIONS", "https://a.example").expect(200);
    let methods = preflight.header("access-control-allow-methods");
    for method in ["GET", "PUT", "POST", "PATCH", "DELETE"] {
        assert!(methods.contains(method), "{methods}");
    }
    assert_eq!(
        preflight.header("access-control-allow-headers"),
        "Accept, Content-Type, Authorization"
    );
}

#[test]
fn listed_origins_may_send_credentials_and_others_nothing() {
    let server =
        home().launch().set("http.corsAccessList=https://a.example,https://b.example").start();
    let read = ask(&server, "GET", "https://b.example").expect(200);
    assert_eq!(read.header("access-control-allow-origin"), "https://b.example");
    assert_eq!(read.header("access-control-allow-credentials"), "true");
    for origin in ["https://c.example", "https://a.example.evil", "http://a.example", "null"] {
        let read = ask(&server, "GET", origin).expect(200);
        assert!(!read.has("access-control-allow-origin"), "{origin}: {read}");
        let options = ask(&server, "OPTIONS", origin).expect(204);
        assert!(!options.has("access-control-allow-methods"), "{origin}: {options}");
    }
}

#[test]
fn a_refusal_can_be_read_too_and_a_preflight_needs_no_login() {
    let server = home().launch_as("run").set("http.corsAccessList=https://a.example").start();
    let client = server.client();
    let refused = send(&client, "GET", "https://a.example").expect(401);
    assert_eq!(refused.header("access-control-allow-origin"), "https://a.example");
    send(&client, "OPTIONS", "https://a.example").expect(200);
}

#[test]
fn it_can_be_switched_off() {
    let server = home().launch().set("http.cors=false").start();
    let read = ask(&server, "GET", "https://a.example").expect(200);
    assert!(!read.has("access-control-allow-origin"), "{read}");
    ask(&server, "OPTIONS", "https://a.example").expect(204);
}

#[test]
fn a_foreign_page_is_nobody_where_local_clients_need_no_login() {
    let server = home().start();
    let (client, own) = (server.client(), format!("http://{}", server.http));
    send(&client, "GET", &own).expect(200);
    send(&client, "GET", "https://a.example").expect(401);
    send(&client, "GET", "null").expect(401);
    let mut wire = server.wire();
    wire.send("GET /Dog/ HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(wire.reply().status, 401, "a name that a page points at this machine");
}

#[test]
fn a_preflight_answers_what_was_asked_as_configured() {
    let ask = |server: &Server| {
        let client = server.client();
        let ask = client.request("OPTIONS", "/Dog/").header("origin", "https://a.example");
        let ask = ask.header("access-control-request-method", "PUT");
        ask.header("access-control-request-headers", "authorization,x-own").send().expect(200)
    };
    let reply = ask(&home().start());
    assert!(!reply.has("access-control-max-age"), "{reply}");
    assert!(!reply.has("access-control-expose-headers"), "a preflight shows nothing: {reply}");
    for name in ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"] {
        assert!(reply.header("vary").contains(name), "{reply}");
    }
    let launch = home().launch().set("http.corsAccessControlMaxAge=10m");
    let launch = launch.set("http.corsAccessControlExposeHeaders=ETag, X-Own");
    let server = launch.set("http.corsAccessControlAllowHeaders=*").start();
    let reply = ask(&server);
    assert_eq!(reply.header("access-control-allow-headers"), "authorization,x-own");
    assert_eq!(reply.header("access-control-max-age"), "600");
    let read = self::ask(&server, "GET", "https://a.example").expect(200);
    assert_eq!(read.header("access-control-expose-headers"), "ETag, X-Own");
}

#[test]
fn caches_are_told_that_every_answer_depends_on_the_origin() {
    let server = home().start();
    let client = server.client();
    for reply in [
        client.put("/Dog/1", "{}").expect(204),
        client.get("/Dog/1").expect(200),
        client.get("/Dog/none").expect(404),
        client.request("OPTIONS", "/Dog/").send().expect(204),
    ] {
        let all: Vec<_> = reply.headers.get_all("vary").iter().collect();
        let all = format!("{all:?}");
        assert_eq!(all.matches("Origin").count(), 1, "{reply}");
    }
}

#[test]
fn a_list_may_be_written_carelessly_and_an_empty_one_admits_none() {
    let server = home().launch().set("http.corsAccessList=[https://A.example/]").start();
    let read = ask(&server, "GET", "https://a.example").expect(200);
    assert_eq!(read.header("access-control-allow-origin"), "https://a.example");
    let server = home().launch().set("http.corsAccessList=[null]").start();
    let read = ask(&server, "GET", "https://a.example").expect(200);
    assert!(!read.has("access-control-allow-origin"), "{read}");
    let server = home().launch().set("http.corsAccessList=[https://a.example, '*']").start();
    let read = ask(&server, "GET", "https://b.example").expect(200);
    assert_eq!(read.header("access-control-allow-origin"), "*");
    assert!(!read.has("access-control-allow-credentials"), "{read}");
}
