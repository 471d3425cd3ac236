//! Bodies of other types are kept as they are; binary attributes; parts of both.

use crate::harness::{Client, Home, Reply, Server};
use serde_json::json;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

const SCHEMA: &str = "
type Doc @table @export { id: ID @primaryKey name: String photo: Blob raw: Bytes }
type Strict @table @export @sealed { id: ID @primaryKey name: String }";

fn start() -> Server {
    Home::with_schema(SCHEMA).start()
}

fn put(client: &Client, path: &str, kind: &str, body: impl Into<Vec<u8>>) -> Reply {
    client.request("PUT", path).body(kind, body).send()
}

fn range(client: &Client, path: &str, range: &str) -> Reply {
    client.request("GET", path).header("range", range).send()
}

#[test]
fn a_body_of_another_type_is_kept_as_it_is() {
    let server = start();
    let client = server.client();
    let bytes: Vec<u8> = (0..=255).collect();
    for kind in ["image/png", "application/octet-stream", "application/xml; charset=latin1"] {
        put(&client, "/Doc/1", kind, bytes.clone()).expect(204);
        for accept in ["*/*", "application/json", "image/webp"] {
            let ask = client.request("GET", "/Doc/1").header("accept", accept);
            let reply = ask.send().expect(200);
            assert_eq!(reply.header("content-type"), kind);
            assert_eq!(reply.body, bytes);
            assert_eq!(reply.header("x-content-type-options"), "nosniff");
            assert!(reply.header("vary").starts_with("Accept-Encoding"), "{reply}");
        }
    }
    let record = client.get("/Doc/1?select(id,contentType)").json();
    assert_eq!(record, json!({"id": "1", "contentType": "application/xml; charset=latin1"}));
    let head = client.request("HEAD", "/Doc/1").send().expect(200);
    assert_eq!(head.header("content-length"), "256");
    let made = client.request("POST", "/Doc/").body("text/plain", "hello").send().expect(201);
    assert_eq!(client.get(made.header("location")).text(), "hello");
    put(&client, "/Doc/empty", "text/plain", "").expect(204);
    assert_eq!(client.get("/Doc/empty").expect(200).body, b"");
}

#[test]
fn it_is_a_record_like_any_other() {
    let server = start();
    let client = server.client();
    put(&client, "/Doc/1", "text/plain", "first").expect(204);
    let tag = client.get("/Doc/1").header("etag").to_owned();
    let conditional = client.request("GET", "/Doc/1").header("if-none-match", &tag);
    conditional.send().expect(304);
    let stale = client.request("PUT", "/Doc/1").header("if-match", "\"x\"");
    stale.body("text/plain", "no").send().expect(412);
    client.patch("/Doc/1", r#"{"name":"Rex"}"#).expect(204);
    assert_eq!(client.get("/Doc/1").text(), "first", "a merge leaves the bytes");
    let list = client.get("/Doc/?select(name,data)").json();
    assert_eq!(list, json!([{"name": "Rex", "data": "Zmlyc3Q="}]));
    client.put("/Doc/1", r#"{"contentType":"text/plain","data":"eA=="}"#).expect(204);
    let plain = client.get("/Doc/1");
    assert_eq!(plain.header("content-type"), "application/json", "written as a record: {plain}");
    client.request("PATCH", "/Doc/1").body("text/plain", "x").send().expect(415);
    put(&client, "/Strict/1", "text/plain", "x").expect(415);
    client.delete("/Doc/1").expect(200);
    client.get("/Doc/1").expect(404);
}

#[test]
fn large_bodies_go_the_same_way() {
    let server = start();
    let client = server.client();
    let bytes: Vec<u8> = (0..3_000_000_u64).map(|n| ((n * 7919) >> 3) as u8).collect();
    put(&client, "/Doc/1", "video/mp4", bytes.clone()).expect(204);
    let ask = client.request("GET", "/Doc/1").header("accept-encoding", "br");
    let whole = ask.send().expect(200);
    assert!(whole.body == bytes && !whole.has("content-encoding"), "a film is not compressed");
    let part = range(&client, "/Doc/1", "bytes=2999990-").expect(206);
    assert_eq!(part.body, bytes[2_999_990..]);
}

/// Reads a record that is overwritten all the while; the same tag must always stand for the same bytes.
fn read_overwritten(client: &Client, seen: &mut HashMap<String, u8>) {
    let tag = match client.get("/Doc/1") {
        reply if reply.status == 200 => {
            let first = reply.body[0];
            assert!(reply.body.iter().all(|byte| *byte == first), "one version");
            let known = *seen.entry(reply.header("etag").to_owned()).or_insert(first);
            assert_eq!(known, first, "other bytes under the same tag");
            reply.header("etag").to_owned()
        }
        reply => panic!("{reply}"),
    };
    let part = client.request("GET", "/Doc/1").header("range", "bytes=9-").header("if-range", &tag);
    let part = part.send();
    if part.status == 206 {
        assert_eq!((part.header("etag"), part.body[0]), (tag.as_str(), seen[&tag]));
    }
}

#[test]
fn a_tag_never_stands_for_bytes_of_another_version() {
    let server = start();
    let client = server.client();
    // large enough to be read on the pool
    let version = |n: u8| vec![n; 96 * 1024];
    put(&client, "/Doc/1", "image/png", version(0)).expect(204);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let (client, mut seen) = (server.client(), HashMap::new());
                while !is_over.load(Ordering::Relaxed) {
                    read_overwritten(&client, &mut seen);
                }
            });
        }
        for n in 0..250 {
            put(&client, "/Doc/1", "image/png", version(n)).expect(204);
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_record_that_takes_another_form_meanwhile_is_there_all_the_same() {
    let server = start();
    let client = server.client();
    let large = "x".repeat(100_000);
    client.put("/Doc/1", "{}").expect(204);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let client = server.client();
                while !is_over.load(Ordering::Relaxed) {
                    client.get("/Doc/1").expect(200);
                }
            });
        }
        for _ in 0..100 {
            put(&client, "/Doc/1", "text/plain", large.as_str()).expect(204);
            client.put("/Doc/1", "{}").expect(204);
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn parts_are_sent_of_what_is_kept() {
    let server = start();
    let client = server.client();
    put(&client, "/Doc/1", "text/plain", "0123456789").expect(204);
    let whole = client.get("/Doc/1").expect(200);
    assert_eq!(whole.header("accept-ranges"), "bytes");
    for (asked, body, place) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=5-100", "56789", "bytes 5-9/10"),
        ("bytes=2-4,3-6", "23456", "bytes 2-6/10"),
    ] {
        let part = range(&client, "/Doc/1", asked).expect(206);
        assert_eq!((part.text().as_str(), part.header("content-range")), (body, place), "{asked}");
        assert_eq!(part.header("etag"), whole.header("etag"));
        assert_eq!(part.header("content-length"), body.len().to_string());
    }
    let several = range(&client, "/Doc/1", "bytes=0-1,8-9").expect(206);
    let kind = several.header("content-type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let expected = "--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n\
        --B\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n--B--\r\n";
    assert_eq!(several.text().replace(boundary, "B"), expected);
    assert!(!several.has("content-range"), "{several}");
    for asked in ["bytes=10-", "bytes=-0", "bytes=20-30,40-"] {
        let refused = range(&client, "/Doc/1", asked).expect(416);
        assert_eq!(refused.header("content-range"), "bytes */10", "{asked}");
    }
    for asked in ["bytes=5-4", "lines=1-2", "bytes=x", "bytes 0-1"] {
        assert_eq!(range(&client, "/Doc/1", asked).expect(200).text(), "0123456789", "{asked}");
    }
    let head = client.request("HEAD", "/Doc/1").header("range", "bytes=0-1").send().expect(200);
    assert_eq!(head.header("content-length"), "10");
    let json = client.request("GET", "/Doc/?select(id)").header("range", "bytes=0-1").send();
    assert_eq!(json.expect(200).text(), r#"["1"]"#, "a list has no parts");
}

#[test]
fn if_range_decides_between_the_part_and_the_whole() {
    let server = start();
    let client = server.client();
    put(&client, "/Doc/1", "text/plain", "0123456789").expect(204);
    let tag = client.get("/Doc/1").header("etag").to_owned();
    let ask = |validator: &str| {
        let ask = client.request("GET", "/Doc/1").header("range", "bytes=0-1");
        ask.header("if-range", validator).send()
    };
    assert_eq!(ask(&tag).expect(206).text(), "01");
    for validator in ["\"other\"", &format!("W/{tag}"), "Wed, 21 Oct 2015 07:28:00 GMT"] {
        assert_eq!(ask(validator).expect(200).text(), "0123456789", "{validator}");
    }
    let conditional = client.request("GET", "/Doc/1").header("range", "bytes=0-1");
    conditional.header("if-none-match", &tag).send().expect(304);
}

#[test]
fn binary_attributes_are_uploaded_and_read_as_bytes() {
    let server = start();
    let client = server.client();
    client.put("/Doc/1", r#"{"name":"Rex"}"#).expect(204);
    client.get("/Doc/1.photo").expect(404);
    for path in ["/Doc/1.photo", "/Doc/1/photo"] {
        put(&client, path, "image/png", path).expect(204);
        let reply = client.get("/Doc/1.photo").expect(200);
        assert_eq!((reply.header("content-type"), reply.text().as_str()), ("image/png", path));
    }
    assert_eq!(range(&client, "/Doc/1.photo", "bytes=1-3").expect(206).text(), "Doc");
    put(&client, "/Doc/1.raw", "image/png", "hi").expect(204);
    let raw = client.get("/Doc/1.raw").expect(200);
    assert_eq!(
        (raw.header("content-type"), raw.text().as_str()),
        ("application/octet-stream", "hi")
    );
    assert_eq!(
        client.get("/Doc/1").json(),
        json!({"id": "1", "name": "Rex", "raw": "aGk=",
            "photo": {"contentType": "image/png", "data": "L0RvYy8xL3Bob3Rv"}})
    );
    let tag = client.get("/Doc/1.raw").header("etag").to_owned();
    client.request("GET", "/Doc/1.raw").header("if-none-match", &tag).send().expect(304);
    client.delete("/Doc/1.raw").expect(405);
    client.put("/Doc/2", r#"{"photo":"aGk="}"#).expect(204);
    assert_eq!(client.get("/Doc/2.photo").header("content-type"), "application/octet-stream");
    for blob in [
        r#"{"data":"aGk="}"#,
        r#"{"contentType":1,"data":""}"#,
        r#"{"contentType":"","data":""}"#,
        "5",
        r#"" ""#,
    ] {
        client.put("/Doc/3", &format!(r#"{{"photo":{blob}}}"#)).expect(400);
    }
    let form = "--x\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a.png\"\r\n\
        Content-Type: image/png\r\n\r\nhi\r\n--x--\r\n";
    put(&client, "/Doc/4", "multipart/form-data; boundary=x", form).expect(204);
    let photo = client.get("/Doc/4.photo").expect(200);
    assert_eq!((photo.header("content-type"), photo.text().as_str()), ("image/png", "hi"));
}
