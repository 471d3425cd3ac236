//! Resources of applications, files, and what comes with later parts.

use crate::{Row, World, differs, later, same};

const JAVASCRIPT: &str = "JavaScript components";
const REAL: &str = "real time";
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

/// WebSocket and Server-Sent Events.
pub(crate) const REAL_TIME: &[Row] = &[
    later("upgrade and its close codes", REAL),
    later("text and binary frames by type", REAL),
    later("the form of an event", REAL),
    later("which subscriptions see what", REAL),
    later("connect(incoming) of a class", REAL),
    later("Server-Sent Events", REAL),
];

/// MQTT.
pub(crate) const MQTT: &[Row] = &[
    later("versions", REAL),
    later("CONNACK", REAL),
    later("client ids and take-over", REAL),
    later("topics", REAL),
    later("subscribe and retained records", REAL),
    later("refused subscriptions", REAL),
    later("publish with and without retain", REAL),
    later("refused publications", REAL),
    later("QoS 2", REAL),
    later("writes over HTTP as messages", REAL),
    later("keep-alive, wills, durable sessions", REAL),
];

/// The Operations API.
pub(crate) const OPERATIONS: &[Row] = &[
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

#[test]
fn metrics() {
    crate::run(PROMETHEUS);
}
