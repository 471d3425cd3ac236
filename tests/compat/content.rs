//! Media types both ways.

use crate::harness::Reply;
use crate::{Row, World, differs, same};
use serde_json::json;

/// The rows.
pub(crate) const ROWS: &[Row] = &[
    same("the types that are offered", |w| {
        seed(w);
        for kind in [
            "application/json",
            "application/cbor",
            "application/x-msgpack",
            "text/csv",
            "text/yaml",
        ] {
            assert!(accept(w, "/Dog/1", kind).expect(200).header("content-type").starts_with(kind));
        }
    }),
    same("*/*, no Accept, q-values, order", |w| {
        seed(w);
        let kind =
            |value: &str| accept(w, "/Dog/1", value).expect(200).header("content-type").to_owned();
        assert_eq!(kind("*/*"), "application/json");
        assert_eq!(w.admin.get("/Dog/1").header("content-type"), "application/json");
        assert!(kind("application/json;q=0.1,text/yaml").starts_with("text/yaml"));
        assert_eq!(
            kind("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            "application/json"
        );
    }),
    differs(
        "Accept with nothing supported",
        "406 text; `application/*` and `text/*` too; wins over 401",
        "406 problem details that name the types; ranges are understood",
        |w| {
            seed(w);
            let refused = accept(w, "/Dog/1", "image/png").expect(406);
            assert!(refused.error().contains("application/json"), "{refused}");
            assert_eq!(
                accept(w, "/Dog/1", "application/*").expect(200).header("content-type"),
                "application/json"
            );
            accept(w, "/Dog/1", "text/*").expect(200);
        },
    ),
    differs("Accept: application/x-ndjson", "406", "one record a line", |w| {
        seed(w);
        let text = accept(w, "/Dog/", "application/x-ndjson").expect(200).text();
        assert_eq!(text.lines().count(), 2, "{text}");
    }),
    same("CBOR list", |w| {
        seed(w);
        let list = accept(w, "/Dog/", "application/cbor").expect(200);
        let value: ciborium::Value = ciborium::from_reader(&*list.body).unwrap();
        assert_eq!(value.as_array().unwrap().len(), 2);
    }),
    differs("MessagePack list", "concatenated values", "an array", |w| {
        seed(w);
        let list = accept(w, "/Dog/", "application/x-msgpack").expect(200);
        assert!(
            list.body[0] == 0x92 || list.body[0] == 0xdc || list.body[0] == 0xdd,
            "{:02x?}",
            &list.body[..1]
        );
    }),
    same("CSV list", |w| {
        seed(w);
        let csv = accept(w, "/Dog/", "text/csv").expect(200);
        assert!(csv.header("content-disposition").contains("data.csv"));
        let text = csv.text();
        let header = text.lines().next().unwrap();
        assert!(header.contains("name") && header.contains("tags"), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
    }),
    differs("CSV of scalars", "columns are the positions of characters", "one column", |w| {
        seed(w);
        let text = accept(w, "/Dog/?select(name)", "text/csv").expect(200).text();
        assert!(text.contains("Rex") && !text.contains("R,e,x"), "{text}");
    }),
    differs(
        "text/plain of an object",
        "`[object Object]`",
        "406, or text that says something",
        |w| {
            seed(w);
            let reply = accept(w, "/Dog/1", "text/plain");
            assert!(!reply.text().contains("[object"), "{reply}");
        },
    ),
    differs("form-urlencoded out", "garbage", "the members of the record", |w| {
        seed(w);
        let reply = accept(w, "/Dog/1", "application/x-www-form-urlencoded").expect(200);
        assert!(reply.text().contains("name=Rex"), "{reply}");
    }),
    same("a body of another type", |w| {
        let xml = "<dog>Rex</dog>";
        w.admin.request("PUT", "/Dog/xml").body("application/xml", xml).send().expect(204);
        let reply = accept(w, "/Dog/xml", "*/*").expect(200);
        assert_eq!(reply.header("content-type"), "application/xml");
        assert_eq!(reply.text(), xml);
        w.admin.delete("/Dog/xml").expect(200);
    }),
    differs(
        "a body of text/yaml or application/merge-patch+json",
        "stored verbatim as an unknown type",
        "read as what they are",
        |w| {
            w.admin
                .request("PUT", "/Dog/yaml")
                .body("text/yaml", "name: Rex\nage: 3\n")
                .send()
                .expect(204);
            assert_eq!(
                w.admin.get("/Dog/yaml").json(),
                json!({"id": "yaml", "name": "Rex", "age": 3})
            );
            let patch = w
                .admin
                .request("PATCH", "/Dog/yaml")
                .body("application/merge-patch+json", r#"{"age":4}"#);
            patch.send().expect(204);
            assert_eq!(w.admin.get("/Dog/yaml").json()["age"], 4);
            w.admin.delete("/Dog/yaml").expect(200);
        },
    ),
    differs("text/plain on PUT", "500", "stored with its type", |w| {
        w.admin.request("PUT", "/Dog/text").body("text/plain", "a text").send().expect(204);
        assert_eq!(accept(w, "/Dog/text", "*/*").expect(200).text(), "a text");
        w.admin.delete("/Dog/text").expect(200);
    }),
    same("no Content-Type", |w| {
        let body = r#"{"name":"none"}"#;
        w.admin.request("PUT", "/Dog/none").body("", body).send().expect(204);
        assert_eq!(w.admin.get("/Dog/none").json()["name"], "none");
        w.admin.delete("/Dog/none").expect(200);
    }),
    differs(
        "malformed, empty, `null`, string and array bodies",
        "500; an array is stored",
        "400 with the place",
        |w| {
            for body in ["{", "", "null", "\"text\"", "[]"] {
                w.admin.put("/Dog/bad", body).expect(400);
            }
        },
    ),
    differs("Content-Encoding of a request", "ignored", "decoded, or 415", |w| {
        let ask = |coding| w.admin.request("PUT", "/Dog/coded").header("content-encoding", coding);
        ask("nope").json("{}").send().expect(415);
        let mut body = Vec::new();
        let plain = br#"{"name":"coded"}"#;
        brotli::BrotliCompress(
            &mut &plain[..],
            &mut body,
            &brotli::enc::BrotliEncoderParams::default(),
        )
        .unwrap();
        ask("br").body("application/json", body).send().expect(204);
        assert_eq!(w.admin.get("/Dog/coded").json()["name"], "coded");
        w.admin.delete("/Dog/coded").expect(200);
    }),
    same("Accept: text/event-stream", |w| {
        assert_eq!(w.stream("/Dog/").headers["content-type"], "text/event-stream");
    }),
];

fn seed(w: &World) {
    w.admin
        .put("/Dog/", r#"[{"id":"1","name":"Rex","tags":["a"]},{"id":"2","name":"Ben"}]"#)
        .expect(204);
}

fn accept(w: &World, path: &str, kind: &str) -> Reply {
    w.admin.request("GET", path).header("accept", kind).send()
}
