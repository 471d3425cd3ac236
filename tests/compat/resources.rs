//! Resources of applications, files, and what comes with later parts.

use crate::harness::Reply;
use crate::shared::web_socket::client::WebSocket;
use crate::{Row, Stream, World, differs, later, same};
use serde_json::json;

const JAVASCRIPT: &str = "JavaScript components";
const OPS: &str = "the Operations API";

/// The rows.
pub(crate) const ROWS: &[Row] = &[
    later("a class of resources.js under its export name", JAVASCRIPT),
    later("the default permissions of a class", JAVASCRIPT),
    later("how a result becomes an answer", JAVASCRIPT),
    differs(
        "permission before 405",
        "anonymous POST on what cannot be posted to: 401",
        "the same",
        |w| {
            w.anyone().post("/Dog/1", "{}").expect(401);
        },
    ),
    later("server.http(fn, {runFirst})", JAVASCRIPT),
    later("server.ws(fn)", JAVASCRIPT),
    same("static: / → index.html", |w| {
        let page = w.anyone().get("/").expect(200);
        assert!(page.text().contains("front page"));
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(page.has("last-modified") && page.has("etag"));
        assert_eq!(page.header("accept-ranges"), "bytes");
        assert_eq!(page.header("cache-control"), "public, max-age=0");
    }),
    differs(
        "static: HEAD, If-None-Match, Range",
        "HEAD is 404, the others are ignored",
        "they work",
        |w| {
            let client = w.anyone();
            let page = client.get("/app.js").expect(200);
            client.request("HEAD", "/app.js").send().expect(200);
            client
                .request("GET", "/app.js")
                .header("if-none-match", page.header("etag"))
                .send()
                .expect(304);
            client.request("GET", "/app.js").header("range", "bytes=-5").send().expect(206);
        },
    ),
    same("static: a directory without index, an escape", |w| {
        let client = w.anyone();
        client.get("/folder/").expect(404);
        for path in ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/secret.txt"] {
            assert!([400, 404].contains(&client.get(path).status), "{path}");
        }
    }),
    same("static: POST", |w| {
        let status = w.anyone().post("/app.js", "{}").status;
        assert!(status == 404 || status == 405, "{status}");
    }),
    differs(
        "/openapi",
        "OpenAPI 3.0.3 for a super user; 403 for everybody else",
        "OpenAPI 3.1; 401 without a login",
        |w| {
            let description = w.admin.get("/openapi").expect(200).json();
            assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
            assert!(
                description["paths"]
                    .as_object()
                    .unwrap()
                    .keys()
                    .any(|path| path.starts_with("/Dog/"))
            );
            w.anyone().get("/openapi").expect(401);
        },
    ),
];

/// The login of the administrator.
const ADMIN: (&str, &str) = ("Authorization", "Basic YWRtaW46YSBwYXNzd29yZCBvZiB0aGUgdGVzdHM=");

/// WebSocket and Server-Sent Events.
pub(crate) const REAL_TIME: &[Row] = &[
    differs(
        "upgrade and its close codes",
        "every upgrade succeeds; who is refused hears 3000, 3003 or 1011 after it",
        "who is refused hears a status, as of any request; the close codes with `http.webSocket.refusals: close`",
        |w| {
            assert_eq!(WebSocket::refused(&w.server, "/Dog/", &[]).status, 401);
            let offered = [ADMIN, ("Sec-WebSocket-Protocol", "first, second")];
            let socket = WebSocket::open(&w.server, "/Dog/none", &offered);
            assert_eq!(socket.header("sec-websocket-protocol"), "first");
            assert_eq!(WebSocket::refused(&w.server, "/Nope", &[ADMIN]).status, 404);
        },
    ),
    differs("permessage-deflate", "never", "for long messages to clients that offer it", |w| {
        let offered = [ADMIN, ("Sec-WebSocket-Extensions", "permessage-deflate")];
        let socket = WebSocket::open(&w.server, "/Dog/none", &offered);
        assert!(socket.header("sec-websocket-extensions").starts_with("permessage-deflate"));
    }),
    same("text and binary frames by type", |w| {
        w.admin.put("/Dog/framed", r#"{"name":"Rex"}"#).expect(204);
        for (accept, first) in
            [("application/json", 0x81), ("text/yaml", 0x81), ("application/cbor", 0x82)]
        {
            let headers = [ADMIN, ("Accept", accept)];
            let mut socket = WebSocket::open(&w.server, "/Dog/framed", &headers);
            assert_eq!(socket.frame().first, first, "{accept}");
        }
        w.admin.delete("/Dog/framed").expect(200);
    }),
    differs(
        "a socket to /Dog, or to a class without connect",
        "open and silent",
        "404 with a sentence: it would never say anything",
        |w| {
            let reply = WebSocket::refused(&w.server, "/Dog", &[ADMIN]);
            assert_eq!(reply.status, 404);
        },
    ),
    same("messages of a client to a table", |w| {
        let mut socket = WebSocket::open(&w.server, "/Dog/none", &[ADMIN]);
        socket.send(0x81, br#"{"name":"ignored"}"#).send(0x89, b"?");
        assert_eq!(socket.frame().payload, b"?", "nothing else has come of it");
        w.admin.get("/Dog/none").expect(404);
    }),
    same("the form of an event", |w| {
        w.admin.put("/Dog/told", r#"{"name":"Rex"}"#).expect(204);
        let mut stream = w.stream("/Dog/told");
        let event = stream.next().unwrap().data;
        let members: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["id", "localTime", "value", "version", "type"]);
        assert_eq!((&event["id"], &event["type"]), (&json!("told"), &json!("put")));
        stream.place();
        w.admin.patch("/Dog/told", r#"{"name":"Max"}"#).expect(204);
        assert_eq!(stream.next().unwrap().data["value"]["name"], "Max", "the full record");
        w.admin.delete("/Dog/told").expect(200);
        let gone = stream.next().unwrap().data;
        assert_eq!((&gone["type"], gone.get("value")), (&json!("delete"), None));
    }),
    differs(
        "which subscriptions see what",
        "a record and its changes, or all records and all changes: conditions and select are ignored",
        "the same, and conditions and select hold for each event",
        |w| {
            w.admin.put("/Dog/seen", r#"{"name":"Seen"}"#).expect(204);
            let mut stream = w.stream("/Dog/?name=Seen&select(id,name)");
            let seen = json!({"id": "seen", "name": "Seen"});
            assert_eq!(stream.next().unwrap().data["value"], seen);
            stream.place();
            w.admin.put("/Dog/unseen", r#"{"name":"Other"}"#).expect(204);
            w.admin.delete("/Dog/seen").expect(200);
            assert_eq!(stream.next().unwrap().short(), "delete seen");
            w.admin.delete("/Dog/unseen").expect(200);
        },
    ),
    later("connect(incoming) of a class", JAVASCRIPT),
    differs(
        "Server-Sent Events",
        "`Accept` exactly `text/event-stream`; bare `data:` lines, no `id`, no heartbeat",
        "`Accept` is weighed; `data:` as Harper's, with an `id` to go on from, and heartbeats",
        |w| {
            let mut stream = w.stream("/Dog/sent");
            let place = stream.place();
            w.admin.put("/Dog/sent", "{}").expect(204);
            let event = stream.next().unwrap();
            assert_eq!(event.name, "message", "onmessage hears it");
            assert_ne!(event.id, place);
            w.admin.delete("/Dog/sent").expect(200);
            let nobody = Stream::ask(&w.server, "/Dog/", &[]).err().unwrap();
            assert_eq!(nobody.status, 401, "errors keep their status");
            assert!(nobody.has("www-authenticate"));
        },
    ),
];

/// The Operations API.
pub(crate) const OPERATIONS: &[Row] = &[
    same("GET /health without a login", |w| {
        let health = w.server.operations().get("/health").expect(200);
        assert_eq!(health.text(), "HarperDB is running.");
    }),
    same("another path", |w| {
        assert_eq!(w.server.operations().get("/Dog/").expect(404).error(), "Not found");
    }),
    same("no operation, an unknown one, nobody logged in", |w| {
        let needs = "Request body must include an 'operation' property.";
        assert!(operation(w, "{}").expect(400).error().contains(needs));
        let unknown = operation(w, r#"{"operation":"nope"}"#).expect(400);
        assert_eq!(unknown.error(), "Operation 'nope' not found");
        let anyone = w.server.operations().post("/", r#"{"operation":"user_info"}"#);
        assert_eq!(anyone.expect(401).error(), "Must login");
    }),
    differs("an operation that is no text", "500", "400", |w| {
        operation(w, r#"{"operation":3}"#).expect(400);
    }),
    differs(
        "an operation without the right",
        "403 with `unauthorized_access` and `invalid_schema_items`",
        "403, problem details with the sentence",
        |w| {
            operation(w, r#"{"operation":"add_role","role":"none","permission":{}}"#);
            operation(
                w,
                r#"{"operation":"add_user","username":"nil","password":"x","role":"none"}"#,
            );
            let nil = w.server.operations().login("nil", "x");
            let refused = nil.post("/", r#"{"operation":"list_users"}"#).expect(403);
            assert!(refused.error().contains("restricted to 'super_user' roles"), "{refused}");
        },
    ),
    same("add_role, alter_role, drop_role", |w| {
        let role = r#"{"operation":"add_role","role":"r1","permission":{"super_user":true}}"#;
        assert_eq!(operation(w, role).expect(200).json()["id"], "r1");
        operation(w, role).expect(409);
        let alter = r#"{"operation":"alter_role","id":"r1","permission":{"super_user":false}}"#;
        assert_eq!(operation(w, alter).expect(200).json()["permission"]["super_user"], false);
        let drop = r#"{"operation":"drop_role","id":"r1"}"#;
        assert_eq!(operation(w, drop).expect(200).json()["message"], "r1 successfully deleted");
        assert_eq!(operation(w, drop).expect(404).error(), "Role not found");
    }),
    same("add_user, drop_user", |w| {
        let add = r#"{"operation":"add_user","username":"rita","password":"x","role":"super_user","active":true}"#;
        assert_eq!(operation(w, add).expect(200).json()["message"], "rita successfully added");
        operation(w, add).expect(409);
        let nope = r#"{"operation":"add_user","username":"rob","password":"x","role":"nope"}"#;
        assert_eq!(operation(w, nope).expect(404).error(), "nope role not found");
        let users = operation(w, r#"{"operation":"list_users"}"#).expect(200);
        assert!(!users.text().contains("argon2") && !users.text().contains("password"), "{users}");
        let drop = r#"{"operation":"drop_user","username":"rita"}"#;
        assert_eq!(operation(w, drop).expect(200).json()["message"], "rita successfully deleted");
    }),
    differs(
        "alter_user of a user who is not there, or of nothing",
        "200 with the user skipped; 500",
        "404; 400",
        |w| {
            operation(w, r#"{"operation":"alter_user","username":"nope","active":true}"#)
                .expect(404);
            operation(w, r#"{"operation":"alter_user","username":"admin"}"#).expect(400);
        },
    ),
    later("databases, tables, attributes", OPS),
    later("insert, update, upsert, delete, search", OPS),
    later("sql, jobs, exports", OPS),
    later("configuration and system information", OPS),
    later("components and deployment", OPS),
    later("logs and analytics", OPS),
];

/// Metrics.
pub(crate) const PROMETHEUS: &[Row] = &[differs(
    "a page of metrics",
    "a separate component, gauges that a scrape resets",
    "built in, on the admin port, with conventional names and types",
    |w: &World| {
        w.anyone().get("/");
        let page = w.server.admin().get("/metrics").expect(200).text();
        assert!(page.contains("# TYPE harper_http_requests_total counter"), "{page}");
    },
)];

/// What the administrator is answered.
fn operation(w: &World, body: &str) -> Reply {
    use crate::harness::server::{PASSWORD, USERNAME};
    w.server.operations().login(USERNAME, PASSWORD).post("/", body)
}

#[test]
fn operations() {
    crate::run(OPERATIONS);
}

#[test]
fn metrics() {
    crate::run(PROMETHEUS);
}
