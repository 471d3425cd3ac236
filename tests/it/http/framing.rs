//! Where one request ends and the next begins.

use super::home;

#[test]
fn a_connection_serves_many_requests() {
    let server = home().start();
    let mut wire = server.wire();
    for _ in 0..100 {
        assert_eq!(wire.get("/Dog/").reply().expect(200).text(), "[]");
    }
    wire.send("PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!(wire.reply().status, 204);
    wire.send("PUT /Dog/2 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n");
    assert_eq!(wire.reply().status, 204);
    wire.get("/Dog/none").reply().expect(404);
    assert_eq!(wire.get("/Dog/?select(id)").reply().text(), r#"["1","2"]"#);
    wire.send("GET /Dog/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let last = wire.reply().expect(200);
    assert_eq!(last.header("connection"), "close");
    assert!(!last.has("keep-alive"), "{last}");
    wire.closed();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = home().start();
    let client = server.client();
    for id in 0..50 {
        client.put(&format!("/Dog/{id}"), &format!(r#"{{"name":"dog {id}"}}"#)).expect(204);
    }
    let mut wire = server.wire();
    let mut all = String::new();
    for id in 0..50 {
        all += &format!("GET /Dog/{id}?select(name) HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let body = format!(r#"{{"name":"new {id}"}}"#);
        all += &format!(
            "PUT /Dog/{id} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        all += &format!("GET /Dog/{id}?select(name) HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    wire.send(&all);
    for id in 0..50 {
        assert_eq!(wire.reply().text(), format!("\"dog {id}\""));
        assert_eq!(wire.reply().status, 204);
        assert_eq!(wire.reply().text(), format!("\"new {id}\""));
    }
    wire.get("/Dog/").send("GET /Dog/7 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(wire.reply().json().as_array().unwrap().len(), 50);
    assert_eq!(wire.reply().json()["name"], "new 7", "none is lost before the close");
    wire.closed();
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let server = home().start();
    let mut wire = server.wire();
    for byte in b"PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}" {
        wire.send([*byte]);
    }
    assert_eq!(wire.reply().status, 204);
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let server = home().start();
    let many: Vec<_> =
        (0..3000).map(|id| format!(r#"{{"id":"{id}","name":"{}"}}"#, "x".repeat(100))).collect();
    server.client().put("/Dog/", &format!("[{}]", many.join(","))).expect(204);
    let mut wire = server.wire();
    wire.send("GET /Dog/1 HTTP/1.0\r\n\r\n");
    assert_eq!(wire.reply().expect(200).json()["id"], "1");
    wire.closed();
    let mut wire = server.wire();
    wire.send("GET /Dog/ HTTP/1.0\r\n\r\n");
    let list = wire.reply().expect(200);
    assert!(!list.has("transfer-encoding"), "HTTP/1.0 has no chunks");
    assert_eq!(list.json().as_array().unwrap().len(), 3000);
}

#[test]
fn a_body_that_nobody_reads_is_not_taken_for_a_request() {
    let server = home().start();
    let inner = "GET /Dog/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (method, path, status) in [
        ("PUT", "/Nope", 404),
        ("POST", "/Dog/1", 405),
        ("GET", "/Dog/", 200),
        ("DELETE", "/Dog/9", 200),
    ] {
        let mut wire = server.wire();
        wire.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{inner}",
            inner.len()
        ));
        wire.reply().expect(status);
        wire.get("/Dog/?id=after");
        if let Some(next) = wire.try_reply() {
            assert_eq!((next.status, next.text().as_str()), (200, "[]"), "{method} {path}");
        }
    }
    let mut wire = server.wire();
    wire.send("PUT /Nope HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n");
    wire.send("x".repeat(8_000_000));
    wire.reply().expect(404);
}

#[test]
fn expect_100_continue_is_honoured() {
    let server = home().start();
    let mut wire = server.wire();
    wire.send(
        "PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    );
    assert_eq!(wire.head().unwrap().0, 100);
    wire.send("{}");
    assert_eq!(wire.reply().status, 204);
}

#[test]
fn a_body_that_breaks_off_writes_nothing() {
    let server = home().start();
    for request in [
        "PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{}",
        "PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    ] {
        let mut wire = server.wire();
        wire.send(request).finish_sending();
        if let Some(reply) = wire.try_reply() {
            assert_eq!(reply.status, 400, "{reply}");
        }
    }
    server.client().get("/Dog/1").expect(404);
}
