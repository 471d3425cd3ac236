//! The opening handshake (RFC 6455 §4), and who gets no socket.

use super::client::{ASKING, FIN, TEXT, WebSocket, frame};
use super::{SCHEMA, launch, start};
use crate::harness::client::basic;
use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Home, eventually};

#[test]
fn the_answer_proves_that_it_was_understood() {
    let server = start();
    let socket = WebSocket::open(&server, "/Dog/", &[]);
    assert_eq!(socket.header("upgrade"), "websocket");
    assert_eq!(socket.header("connection"), "Upgrade");
    assert_eq!(socket.header("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    for absent in ["sec-websocket-protocol", "sec-websocket-extensions", "content-length"] {
        assert_eq!(socket.header(absent), "", "{absent}");
    }
    let offered = [("Sec-WebSocket-Protocol", "one, two"), ("sec-websocket-protocol", "three")];
    let socket = WebSocket::open(&server, "/Dog/1", &offered);
    assert_eq!(socket.header("sec-websocket-protocol"), "one");
    eventually("both", || (server.metric("harper_websocket_open") == 2.0).then_some(()));
}

#[test]
fn what_asks_wrongly_is_told_so_and_may_ask_again() {
    let server = start();
    let mut wire = server.wire();
    let mut ask = |lines: &str| {
        wire.send(format!("GET /Dog/ HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"));
        wire.reply()
    };
    let version = ASKING.replace("Version: 13", "Version: 8");
    let reply = ask(&version);
    assert_eq!((reply.status, reply.header("sec-websocket-version")), (400, "13"));
    for wrong in ["dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZQ==", "", "~"] {
        let key = ASKING.replace("dGhlIHNhbXBsZSBub25jZQ==", wrong);
        let reply = ask(&key);
        assert_eq!(reply.status, 400, "{wrong}");
        assert!(reply.error().contains("Sec-WebSocket-Key"), "{reply}");
    }
    let twice = format!("{ASKING}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    assert_eq!(ask(&twice).status, 400);
    // without its two tokens it is a request like any other (RFC 9110 §7.8)
    for plain in ["Connection: keep-alive, Upgrade\r\n", "Upgrade: websocket\r\n"] {
        let rest = ASKING.replace(plain, "");
        assert_eq!(ask(&rest).status, 200, "{plain}");
    }
    assert_eq!(ask(&ASKING.replace("Upgrade: websocket", "Upgrade: h2c")).status, 200);
    wire.send(format!(
        "POST /Dog/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n{ASKING}\r\n{{}}"
    ));
    assert_eq!(wire.reply().status, 201);
    // and the connection can still become a socket
    wire.send(format!("GET /Dog/none HTTP/1.1\r\nHost: localhost\r\n{ASKING}\r\n"));
    assert_eq!(wire.head().unwrap().0, 101);
    eventually("it", || (server.metric("harper_websocket_open") == 1.0).then_some(()));
}

#[test]
fn who_is_refused_hears_why_by_a_status() {
    let server = Home::with_schema(SCHEMA).launch_as("run").set("threads.count=1").start();
    let admin = basic(&format!("{USERNAME}:{PASSWORD}"));
    let login = ("Authorization", admin.as_str());
    let wrong = basic("admin:wrong");
    for (target, headers, status, part) in [
        ("/Dog/", vec![], 401, "Must login"),
        ("/Dog/", vec![("Authorization", wrong.as_str())], 401, "Login failed"),
        ("/Nope/1", vec![login], 404, "No resource was found to handle /Nope/1"),
        ("/Dog", vec![login], 404, "has no events"),
        ("/Dog/?nope=1", vec![login], 400, "nope is not a defined attribute"),
        ("/Dog/?sort(name)", vec![login], 400, "A subscription has conditions"),
        ("/Dog/", vec![login, ("Accept", "image/png")], 406, ""),
    ] {
        let reply = WebSocket::refused(&server, target, &headers);
        assert_eq!(reply.status, status, "{target}: {reply}");
        assert!(reply.error().contains(part), "{target}: {reply}");
    }
    let reply = WebSocket::refused(&server, "/Dog/", &[]);
    assert_eq!(reply.header("www-authenticate").split(' ').next(), Some("Basic"));
    WebSocket::open(&server, "/Dog/", &[login]);
}

#[test]
fn who_is_refused_hears_why_by_a_close_code_where_that_is_configured() {
    let home = Home::with_schema(SCHEMA);
    let server = home.launch_as("run").set("http.webSocket.refusals=close").start();
    let admin = basic(&format!("{USERNAME}:{PASSWORD}"));
    let login = ("Authorization", admin.as_str());
    let wrong = basic("admin:wrong");
    for (target, headers, code, reason) in [
        ("/Dog/", vec![], 3000, "Must login"),
        ("/Dog/", vec![("Authorization", wrong.as_str())], 3000, "Login failed"),
        ("/Dog/", vec![login, ("Origin", "null")], 3003, "may not act"),
        ("/Nope", vec![login], 1011, "No resource was found to handle /Nope"),
    ] {
        let mut socket = WebSocket::open(&server, target, &headers);
        let (closed, why) = socket.close_code();
        assert_eq!(closed, code, "{target}");
        assert!(why.contains(reason), "{target}: {why}");
        socket.closed();
    }
    // whoever asks wrongly speaks no WebSocket
    let mut wire = server.wire();
    let asking = ASKING.replace("13", "12");
    wire.send(format!("GET /Dog/ HTTP/1.1\r\nHost: localhost\r\n{asking}\r\n"));
    assert_eq!(wire.reply().status, 400);
}

#[test]
fn pages_of_other_origins_are_kept_out() {
    let list = "http.corsAccessList=[\"https://good.example\"]";
    let server = launch().set(list).start();
    let open = |origin: &str| WebSocket::over(server.wire(), "/Dog/", &[("Origin", origin)]);
    assert!(open("http://localhost").is_ok(), "its own page, on the machine of the server");
    for origin in ["https://bad.example", "null", "https://localhost"] {
        let reply = open(origin).err().expect(origin);
        assert_eq!(reply.status, 403, "{origin}: {reply}");
    }
    // a listed page comes in, but what a browser adds by itself is nothing it may use here: who is local has said nothing
    assert_eq!(open("https://good.example").err().unwrap().status, 401);
    let login = basic(&format!("{USERNAME}:{PASSWORD}"));
    let headers = [("Origin", "https://good.example"), ("Authorization", &login)];
    WebSocket::open(&server, "/Dog/", &headers);
    // where every origin is admitted, none may use the credentials of its visitor
    let server = launch().start();
    let headers = [("Origin", "https://any.example"), ("Authorization", &login)];
    assert_eq!(WebSocket::refused(&server, "/Dog/", &headers).status, 403);
}

#[test]
fn tables_take_none_where_their_application_says_so() {
    let home = Home::with_schema(SCHEMA);
    let config = "rest: { webSocket: false }\ngraphqlSchema:\n  files: schema.graphql\n";
    home.write("app/config.yaml", config);
    let server = home.launch().start();
    let reply = WebSocket::refused(&server, "/Dog/", &[]);
    assert_eq!(reply.status, 404, "{reply}");
    assert!(reply.error().contains("rest.webSocket"));
    server.client().get("/Dog/").expect(200);
    home.write("app/config.yaml", config.replace("false", "1"));
    let output = home.output(&["check", home.path("app").to_str().unwrap()]);
    assert!(!output.status.success());
}

#[test]
fn frames_that_come_before_the_answer_are_no_request() {
    let server = start();
    let mut wire = server.wire();
    let early = super::client::frame(FIN | TEXT, b"too early");
    let head = format!("GET /Dog/ HTTP/1.1\r\nHost: localhost\r\n{ASKING}\r\n");
    wire.send([head.as_bytes(), &early].concat());
    // RFC 6455 §4.1: a client waits; what it sends all the same must not be taken for another request
    let (status, _) = wire.head().unwrap();
    assert!(status == 101 || status == 400, "{status}");
    drop(wire);
    server.client().get("/Dog/").expect(200);
    assert_eq!(server.metric("harper_panics_total"), 0.0);
}

#[test]
fn what_comes_before_the_answer_opens_nothing() {
    let server = start();
    // whether or not the answer had to wait for a password to be checked
    for login in ["", "Authorization: Basic bm9ib2R5Om5vbmU=\r\n"] {
        let mut wire = server.wire();
        let asked = format!("GET /Dog/ HTTP/1.1\r\nHost: localhost\r\n{ASKING}{login}\r\n");
        wire.send([asked.as_bytes(), &frame(FIN | TEXT, b"early")].concat());
        let (status, _) = wire.head().expect("an answer");
        if status == 101 {
            wire.closed();
        }
    }
    eventually("the end", || (server.metric("harper_websocket_open") == 0.0).then_some(()));
}
