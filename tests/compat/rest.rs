//! Records and collections.

use crate::harness::{Reply, eventually};
use crate::{Row, World, differs, same};
use serde_json::{Value, json};

/// The rows.
pub(crate) const ROWS: &[Row] = &[
    same("GET /Dog/1", get_record),
    differs("GET /Dog/none", "404 without a body", "problem details: errors have one shape", |w| {
        let reply = w.admin.get("/Dog/none").expect(404);
        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert_eq!(reply.error(), "Not found");
    }),
    differs("HEAD /Dog/1", "`Content-Length: 0`", "the length of GET (RFC 9110 §9.3.2)", |w| {
        w.admin.put("/Dog/head", "{}").expect(204);
        let length = w.admin.get("/Dog/head").expect(200).body.len().to_string();
        let head = w.admin.request("HEAD", "/Dog/head").send().expect(200);
        assert_eq!(head.header("content-length"), length);
    }),
    same("GET /Dog/", |w| {
        for id in ["list-b", "list-a"] {
            w.admin.put(&format!("/Nice/{id}").replace("Nice", "nice/path"), "{}").expect(204);
        }
        let reply = w.admin.get("/nice/path/").expect(200);
        assert!(!reply.has("etag") && !reply.has("last-modified"));
        let ids: Vec<_> =
            reply.json().as_array().unwrap().iter().map(|r| r["id"].clone()).collect();
        assert_eq!(ids, ["list-a", "list-b"]);
    }),
    differs(
        "GET /Dog",
        "a description of the table, for anybody who may read it, unfiltered; POST is 405",
        "the description shows what the asking role may read",
        |w| {
            let text = w.admin.get("/Dog").expect(200).json();
            assert_eq!((&text["name"], &text["database"]), (&json!("Dog"), &json!("data")));
            assert_eq!(text["records"], "./");
            assert!(text["attributes"].as_array().unwrap().iter().any(|a| a["name"] == "age"));
            w.admin.post("/Dog", "{}").expect(405);
        },
    ),
    same("GET /Dog?name=Rex", |w| {
        w.admin.put("/Dog/q", r#"{"name":"WithoutSlash"}"#).expect(204);
        assert_eq!(w.admin.get("/Dog?name=WithoutSlash").expect(200).json()[0]["id"], "q");
    }),
    differs(
        "GET /Dog.csv",
        "the JSON description",
        "an extension picks the type of a collection or record; there is no resource of that name",
        |w| drop(w.admin.get("/Dog.csv").expect(404)),
    ),
    same("PUT /Dog/1", |w| {
        let made = w.admin.put("/Dog/put", r#"{"id":"other","name":"a"}"#).expect(204);
        assert!(made.body.is_empty());
        w.admin.put("/Dog/put", r#"{"name":"b"}"#).expect(204);
        assert_eq!(w.admin.get("/Dog/put").json(), json!({"id": "put", "name": "b"}));
        w.admin.get("/Dog/other").expect(404);
    }),
    differs(
        "PATCH /Dog/1",
        "merges, adds atomically, creates a missing record without its key attribute",
        "the same, and a created record has its key",
        |w| {
            w.admin.put("/Dog/p", r#"{"name":"a","age":3,"breed":"x"}"#).expect(204);
            w.admin
                .patch("/Dog/p", r#"{"breed":null,"age":{"__op__":"add","value":2}}"#)
                .expect(204);
            let expected = json!({"id": "p", "name": "a", "age": 5, "breed": null});
            assert_eq!(w.admin.get("/Dog/p").json(), expected);
            w.admin.patch("/Dog/p-new", r#"{"name":"n"}"#).expect(204);
            assert_eq!(w.admin.get("/Dog/p-new").json(), json!({"id": "p-new", "name": "n"}));
        },
    ),
    differs(
        "DELETE /Dog/1",
        "`true` with the old ETag, also for a record that never was",
        "`false` when there was no record",
        |w| {
            w.admin.put("/Dog/d", "{}").expect(204);
            assert_eq!(w.admin.delete("/Dog/d").expect(200).json(), json!(true));
            assert_eq!(w.admin.delete("/Dog/d").expect(200).json(), json!(false));
        },
    ),
    differs(
        "POST /Dog/",
        "201, the key as body, `Location: <key>`",
        "`Location` is a path, which RFC 9110 §10.2.2 asks for; a key that exists is 409",
        |w| {
            let made = w.admin.post("/Dog/", r#"{"name":"new"}"#).expect(201);
            let key = made.json().as_str().unwrap().to_owned();
            assert_eq!(key.len(), 36, "a UUID");
            assert_eq!(made.header("location"), format!("/Dog/{key}"));
            let first = w.admin.post("/Num/", "{}").expect(201).json().as_i64().unwrap();
            let second = w.admin.post("/Num/", "{}").expect(201).json().as_i64().unwrap();
            assert!(first != second);
            assert_eq!(w.admin.post("/Dog/", r#"{"id":"mine"}"#).expect(201).json(), "mine");
        },
    ),
    differs(
        "POST /Dog, POST /Dog/1",
        "405 with an `Allow` that lists POST and lacks PATCH",
        "`Allow` is true",
        |w| {
            for path in ["/Dog", "/Dog/1"] {
                let refused = w.admin.post(path, "{}").expect(405);
                assert!(!refused.header("allow").contains("POST"), "{refused}");
            }
            assert!(w.admin.post("/Dog/1", "{}").header("allow").contains("PATCH"));
        },
    ),
    differs(
        "PUT or PATCH /Dog/ object",
        "500",
        "the key is taken from the body; without one 400",
        |w| {
            w.admin.put("/Dog/", r#"{"id":"c1","name":"x"}"#).expect(204);
            assert_eq!(w.admin.get("/Dog/c1").json()["name"], "x");
            w.admin.put("/Dog/", r#"{"name":"x"}"#).expect(400);
        },
    ),
    differs("PUT /Dog/ array", "500, nothing stored", "all are stored in one transaction", |w| {
        w.admin.put("/Dog/", r#"[{"id":"a1"},{"id":"a2"}]"#).expect(204);
        w.admin.get("/Dog/a2").expect(200);
    }),
    differs(
        "POST /Dog/ array",
        "500",
        "all are created in one transaction; the keys are the body",
        |w| {
            let keys = w.admin.post("/Dog/", r#"[{"id":"b1"},{"id":"b2"}]"#).expect(201).json();
            assert_eq!(keys, json!(["b1", "b2"]));
        },
    ),
    differs(
        "OPTIONS any resource",
        "204, `Allow` names every method it ever heard of",
        "`Allow` names what works",
        |w| {
            let reply = w.anyone().request("OPTIONS", "/Dog/1").send().expect(204);
            for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH"] {
                assert!(reply.header("allow").contains(method), "{reply}");
            }
        },
    ),
    same("QUERY /Dog/", |w| {
        w.admin.put("/Dog/qm", r#"{"name":"QueryMethod","age":7}"#).expect(204);
        let body = json!({"conditions": [{"attribute": "name", "comparator": "equals", "value": "QueryMethod"}]});
        let reply = w.admin.request("QUERY", "/Dog/").json(&body.to_string()).send().expect(200);
        assert_eq!(reply.json()[0]["age"], 7);
    }),
    same("COPY, MOVE", |w| {
        for method in ["COPY", "MOVE"] {
            w.admin.request(method, "/Dog/1").send().expect(405);
        }
    }),
    differs(
        "TRACE",
        "200 with a fixed text",
        "405: nothing is echoed, and nothing pretends to be",
        |w| {
            w.admin.request("TRACE", "/Dog/1").send().expect(405);
        },
    ),
    differs(
        "PURGE and other unknown methods",
        "501, or 400 from the parser for words it does not know",
        "501 for every method that no resource knows (RFC 9110 §15.6.2)",
        |w| {
            for method in ["PURGE", "FOO", "BREW"] {
                let refused = w.admin.request(method, "/Dog/1").send().expect(501);
                assert_eq!(refused.error(), format!("Method {method} is not recognized"));
            }
        },
    ),
    differs("GET /Nope, /Hidden/, /dog/1", "404 `Not found` as text", "404 problem details", |w| {
        for path in ["/Nope", "/Hidden/", "/dog/1"] {
            assert_eq!(w.admin.get(path).expect(404).error(), "Not found");
        }
    }),
    same("GET /nice/path/", |w| drop(w.admin.get("/nice/path/").expect(200))),
    same("GET /Dog/a%2Fb, /Dog/a/b, /Dog/a/", |w| {
        w.admin.put("/Dog/multi/part", r#"{"age":1}"#).expect(204);
        for path in ["/Dog/multi%2Fpart", "/Dog/multi/part"] {
            assert_eq!(w.admin.get(path).expect(200).json()["age"], 1);
        }
        assert_eq!(w.admin.get("/Dog/multi/").expect(200).json()[0]["id"], "multi/part");
        assert_eq!(w.admin.get("/Dog/none/").expect(200).json(), json!([]));
    }),
    same("GET /Dog/1.name", |w| {
        w.admin.put("/Owner/prop", r#"{"name":"Ann"}"#).expect(204);
        w.admin.put("/Dog/prop", r#"{"name":"Rex","tags":["a","b"],"ownerId":"prop"}"#).expect(204);
        assert_eq!(w.admin.get("/Dog/prop.name").expect(200).json(), "Rex");
        assert_eq!(w.admin.get("/Dog/prop.tags").expect(200).json(), json!(["a", "b"]));
        assert_eq!(w.admin.get("/Dog/prop.owner").expect(200).json()["name"], "Ann");
        w.admin.get("/Dog/prop.age").expect(404);
        w.admin.get("/Dog/prop.nope").expect(404);
    }),
    same("GET /Dog/1.json, /1.csv, /.csv", |w| {
        w.admin.put("/Dog/ext", r#"{"name":"Rex"}"#).expect(204);
        let kind = |path: &str| w.admin.get(path).expect(200).header("content-type").to_owned();
        assert!(kind("/Dog/ext.json").starts_with("application/json"));
        assert!(kind("/Dog/ext.csv").starts_with("text/csv"));
        assert!(kind("/Dog/.csv").starts_with("text/csv"));
        w.admin.get("/Dog/ext.nope").expect(404);
    }),
    differs(
        "GET /Num/abc",
        "400 `SyntaxError: …`",
        "400, the sentence in problem details",
        |w| {
            assert!(w.admin.get("/Num/abc").expect(400).error().contains("abc"));
        },
    ),
    differs("GET /Dog/%zz", "500", "404: no such key; `%zz` stands for itself", |w| {
        let status = w.admin.get("/Dog/%zz").status;
        assert!(status == 404 || status == 400, "{status}");
    }),
    differs("key of more than 1978 bytes", "500", "400", |w| {
        w.admin.put(&format!("/Dog/{}", "k".repeat(2100)), "{}").expect(400);
    }),
    same("PUT of 12 MB", |w| {
        let body = json!({"extra": "x".repeat(12 << 20)}).to_string();
        w.admin.put("/Dog/large", &body).expect(204);
        w.admin.delete("/Dog/large").expect(200);
    }),
    differs(
        "errors",
        "a JSON string `\"<Name>: <message>\"`",
        "problem details (RFC 9457) with the sentence in `error`, in the negotiated type",
        |w| {
            let reply =
                w.admin.request("GET", "/Dog/none").header("accept", "application/cbor").send();
            assert_eq!(reply.expect(404).header("content-type"), "application/cbor");
        },
    ),
    differs(
        "ETag",
        "one tag for every representation of a version",
        "a tag for each representation (RFC 9110 §8.8.3)",
        |w| {
            w.admin.put("/Dog/tag", r#"{"name":"a"}"#).expect(204);
            let tag = |path: &str| w.admin.get(path).expect(200).header("etag").to_owned();
            let first = tag("/Dog/tag");
            assert!(first.starts_with('"'), "strong");
            assert_ne!(first, tag("/Dog/tag?select(name)"));
            w.admin.put("/Dog/tag", r#"{"name":"b"}"#).expect(204);
            assert_ne!(first, tag("/Dog/tag"));
        },
    ),
    differs(
        "If-None-Match",
        "one exact tag only; 304 without the tag",
        "lists, weak tags and `*` too, and the 304 carries the tag (RFC 9110 §13.1.2, §15.4.5)",
        |w| {
            w.admin.put("/Dog/inm", "{}").expect(204);
            let tag = w.admin.get("/Dog/inm").header("etag").to_owned();
            for value in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".into()] {
                let ask = w.admin.request("GET", "/Dog/inm").header("if-none-match", &value);
                let reply = ask.send().expect(304);
                assert_eq!(reply.header("etag"), tag);
            }
        },
    ),
    differs(
        "If-Match, If-None-Match: * on writes",
        "ignored",
        "412, decided inside the transaction: no update is lost",
        |w| {
            w.admin.put("/Dog/im", "{}").expect(204);
            let put = |name, value| {
                w.admin.request("PUT", "/Dog/im").header(name, value).json("{}").send()
            };
            put("if-match", "\"old\"").expect(412);
            put("if-none-match", "*").expect(412);
        },
    ),
    differs(
        "Range",
        "ignored",
        "honoured on stored bytes and files; a record as JSON has no ranges",
        |w| {
            let ask = w.admin.request("GET", "/app.js").header("range", "bytes=0-3");
            assert_eq!(ask.send().expect(206).body, b"cons");
        },
    ),
    same("validation", |w| {
        for (body, part) in [
            (r#"{"name":1}"#, "name"),
            (r#"{"age":3000000000}"#, "age"),
            (r#"{"steps":90071992547409930}"#, "steps"),
            (r#"{"good":"yes"}"#, "good"),
            (r#"{"tags":"a"}"#, "tags"),
        ] {
            assert!(w.admin.put("/Dog/v", body).expect(400).error().contains(part));
        }
        let both = w.admin.put("/Dog/v", r#"{"name":1,"age":"x"}"#).expect(400).error();
        assert!(both.contains("name") && both.contains("age"), "all problems at once: {both}");
        w.admin.put("/Owner/v", "{}").expect(400);
        w.admin.put("/Sealed/v", r#"{"name":"a","other":1}"#).expect(400);
    }),
    differs(
        "a Date that is none; PATCH of a missing record",
        "the text is stored; required attributes are not checked",
        "400: a record always fits its schema",
        |w| {
            w.admin.put("/Dog/date", r#"{"born":"yesterday"}"#).expect(400);
            w.admin.patch("/Owner/missing", r#"{"dogs":1}"#).expect(400);
        },
    ),
    same("@createdTime, @updatedTime", |w| {
        w.admin.put("/Times/1", "{}").expect(204);
        let record = w.admin.get("/Times/1").json();
        assert!(record["made"].as_str().unwrap().ends_with('Z'), "{record}");
        assert!(record["changed"].is_number(), "{record}");
        w.admin.put("/Times/1", r#"{"made":"2001-01-01T00:00:00.000Z"}"#).expect(204);
        assert_eq!(w.admin.get("/Times/1").json()["made"], "2001-01-01T00:00:00.000Z");
    }),
    same("expiration", |w| {
        w.admin.put("/Quick/1", r#"{"v":1}"#).expect(204);
        w.admin.get("/Quick/1").expect(200);
        eventually("the record is gone", || (w.admin.get("/Quick/1").status == 404).then_some(()));
    }),
];

/// The headers of a record, and the record as it was stored.
fn get_record(w: &World) {
    let body = r#"{"name":"Rex","age":3,"undeclared":{"a":[1]},"ownerId":"o"}"#;
    w.admin.put("/Dog/1", body).expect(204);
    let reply: Reply = w.admin.get("/Dog/1").expect(200);
    let record: Value = reply.json();
    assert_eq!(record["undeclared"], json!({"a": [1]}));
    assert!(record.get("owner").is_none() && record.get("double").is_none(), "{reply}");
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("server"), "HarperDB");
    assert!(reply.header("server-timing").starts_with("hdb;dur="));
    assert!(reply.header("vary").starts_with("Accept, Accept-Encoding"));
    assert_eq!(reply.header("connection"), "keep-alive");
    assert_eq!(reply.header("keep-alive"), "timeout=30");
    for name in ["etag", "date", "content-length"] {
        assert!(reply.has(name), "{name}");
    }
}
