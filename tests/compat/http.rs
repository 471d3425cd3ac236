//! HTTP itself, TLS, the request log.

use crate::harness::{Home, Wire, client::basic, server};
use crate::{Row, World, differs, same};

/// The rows.
pub(crate) const ROWS: &[Row] = &[
    same("pipelining", |w| {
        let mut wire = Wire::connect(w.server.http);
        wire.send("GET /app.js HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(wire.reply().text().contains("console"));
        assert!(wire.reply().text().contains("front page"));
    }),
    same("HTTP/1.0", |w| {
        let mut wire = Wire::connect(w.server.http);
        wire.send("GET / HTTP/1.0\r\n\r\n");
        let reply = wire.reply().expect(200);
        assert!(!reply.has("transfer-encoding"));
        wire.closed();
    }),
    same("no Host", |w| refused(w, "GET / HTTP/1.1\r\n\r\n", 400)),
    same("a bad request line, two lengths, a length beside chunked, NUL", |w| {
        for head in [
            "GET  / HTTP/1.1 x\r\nHost: localhost\r\n\r\n",
            "PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
        ] {
            refused(w, head, 400);
        }
    }),
    same("Expect: 100-continue", |w| {
        let login = basic(&format!("{}:{}", server::USERNAME, server::PASSWORD));
        let mut wire = Wire::connect(w.server.http);
        wire.send(format!(
            "PUT /Dog/expect HTTP/1.1\r\nHost: localhost\r\nAuthorization: {login}\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        ));
        assert_eq!(wire.head().unwrap().0, 100);
        wire.send("{}");
        wire.reply().expect(204);
    }),
    differs(
        "an absolute-form target",
        "404",
        "the same as the path alone (RFC 9112 §3.2.2)",
        |w| {
            let mut wire = Wire::connect(w.server.http);
            wire.send("GET http://localhost/app.js HTTP/1.1\r\nHost: localhost\r\n\r\n");
            wire.reply().expect(200);
        },
    ),
    differs("OPTIONS *", "404", "204 (RFC 9110 §9.3.7)", |w| {
        let mut wire = Wire::connect(w.server.http);
        wire.send("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!([200, 204].contains(&wire.reply().status));
    }),
    same("headers over maxHeaderSize", |w| {
        let head =
            format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(20_000));
        refused(w, &head, 431);
    }),
    differs(
        "keepAliveTimeout",
        "closes an idle connection up to a second late; announced in `Keep-Alive`",
        "closes within a quarter of a second",
        |_| {
            let server = Home::empty().launch().set("http.keepAliveTimeout=1000").start();
            let mut wire = Wire::connect(server.http);
            assert_eq!(wire.get("/").reply().header("keep-alive"), "timeout=1");
            wire.closed();
        },
    ),
    differs(
        "headersTimeout, timeout",
        "looked at every 30 seconds",
        "looked at four times a second; 408",
        |_| {
            let server = Home::empty().launch().set("http.headersTimeout=500").start();
            let mut wire = Wire::connect(server.http);
            wire.send("GET / HTTP/1.1\r\n");
            wire.reply().expect(408);
        },
    ),
    differs(
        "requestQueueLimit",
        "503 for writes alone, by an estimate",
        "503 with `Retry-After` for every method, by measured time; shown in the tests of the server",
        |w| drop(w.admin.get("/Dog/").expect(200)),
    ),
    differs(
        "TLS",
        "a self-signed authority and certificate made at install; HTTP/2 only with `http2`, and it breaks the \
         operations port",
        "made at the first start that needs one; HTTP/2 breaks nothing; shown in the tests of TLS",
        |_| {
            let server = Home::empty().launch().set("http.securePort=127.0.0.1:0").start();
            for name in ["ca.pem", "certificate.pem", "privateKey.pem"] {
                assert!(server.home.path("root/keys").join(name).is_file(), "{name}");
            }
        },
    ),
    differs("http.logging", "to a file", "to standard output, the same words", |_| {
        let home = Home::empty();
        let server =
            home.launch().set("http.logging.timing=true").set("http.logging.id=true").start();
        server.client().get("/nothing");
        let line = server.line("GET /nothing");
        assert!(line.contains("HTTP/1.1 404") && line.contains("ms id: "), "{line}");
    }),
];

fn refused(w: &World, head: &str, status: u16) {
    let mut wire = Wire::connect(w.server.http);
    wire.send(head);
    assert_eq!(wire.reply().status, status, "{head:?}");
    let _ = wire.rest();
}
