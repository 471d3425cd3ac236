//! Content codings of answers.

use crate::harness::{Reply, Wire};
use crate::{Row, World, differs, same};
use serde_json::json;

/// The rows.
pub(crate) const ROWS: &[Row] = &[
    differs(
        "which codings",
        "Brotli alone",
        "Brotli, zstd and gzip, by the client's weights",
        |w| {
            sized(w, "big", 4000);
            for coding in ["br", "gzip", "zstd"] {
                assert_eq!(coding_of(&get(w, "/Dog/big", coding)), coding);
            }
            assert_eq!(coding_of(&get(w, "/Dog/big", "gzip;q=0.1, br;q=0.9")), "br");
        },
    ),
    differs("br;q=0", "Brotli, for the letters are there", "not Brotli (RFC 9110 §12.5.3)", |w| {
        sized(w, "big", 4000);
        assert_eq!(coding_of(&get(w, "/Dog/big", "br;q=0")), "");
    }),
    same("the threshold: 1200 bytes no, 1201 yes", |w| {
        sized(w, "edge", 1200);
        assert_eq!(coding_of(&get(w, "/Dog/edge", "br")), "");
        sized(w, "edge", 1201);
        assert_eq!(coding_of(&get(w, "/Dog/edge", "br")), "br");
    }),
    same("lists of any size", |w| {
        sized(w, "big", 10);
        assert_eq!(coding_of(&get(w, "/Dog/", "br")), "br");
    }),
    differs("static files", "never compressed", "compressed once and kept, where it pays", |w| {
        assert_eq!(coding_of(&get(w, "/large.txt", "br")), "br");
    }),
    same("Vary", |w| {
        sized(w, "big", 4000);
        assert!(get(w, "/Dog/big", "identity").header("vary").contains("Accept-Encoding"));
    }),
    same("HEAD shows the coding", |w| {
        sized(w, "big", 4000);
        let head = w.admin.request("HEAD", "/Dog/big").header("accept-encoding", "br").send();
        assert_eq!(head.expect(200).header("content-encoding"), "br");
    }),
    same("text/event-stream is not compressed", |w| {
        assert!(!w.stream("/Dog/").headers.contains_key("content-encoding"));
    }),
];

/// Asks without undoing the coding, as the ordinary client does.
fn get(w: &World, path: &str, coding: &str) -> Reply {
    let login = crate::harness::client::basic(&format!(
        "{}:{}",
        crate::harness::server::USERNAME,
        crate::harness::server::PASSWORD
    ));
    let mut wire = Wire::connect(w.server.http);
    wire.send(format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {login}\r\nAccept-Encoding: {coding}\r\n\r\n"
    ));
    wire.reply().expect(200)
}

fn coding_of(reply: &Reply) -> &str {
    reply.header("content-encoding")
}

/// Stores a record that is `length` bytes long as JSON.
fn sized(w: &World, id: &str, length: usize) {
    let empty = json!({"id": id, "breed": ""}).to_string().len();
    let padding = "x".repeat(length.saturating_sub(empty));
    w.admin.put(&format!("/Dog/{id}"), &json!({"breed": padding}).to_string()).expect(204);
}
