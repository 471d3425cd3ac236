//! Brotli: above the threshold, for those who take it.

use crate::harness::{Client, Home, Reply};

const SCHEMA: &str = "type T @table @export { id: ID @primaryKey text: String n: Int @indexed }";

/// A record whose JSON has exactly `bytes` bytes.
fn record(id: &str, bytes: usize) -> String {
    let empty = format!(r#"{{"id":"{id}","text":""}}"#);
    format!(r#"{{"id":"{id}","text":"{}"}}"#, "x".repeat(bytes - empty.len()))
}

fn get(client: &Client, path: &str, encoding: &str) -> Reply {
    client.request("GET", path).header("accept-encoding", encoding).send().expect(200)
}

fn plain(reply: &Reply) -> Vec<u8> {
    assert_eq!(reply.header("content-encoding"), "br", "{reply}");
    let mut plain = Vec::new();
    brotli::BrotliDecompress(&mut reply.body.as_slice(), &mut plain).unwrap();
    plain
}

#[test]
fn a_body_is_compressed_above_the_threshold_and_not_at_it() {
    let home = Home::with_schema(SCHEMA);
    for (setting, threshold) in [(None, 1200), (Some("http.compressionThreshold=300"), 300)] {
        let launch = home.launch().set("threads.count=1");
        let server = setting.into_iter().fold(launch, crate::harness::Launch::set).start();
        let client = server.client();
        for (id, bytes) in
            [("below", 100), ("at", threshold), ("above", threshold + 1), ("far", 100_000)]
        {
            client.put(&format!("/T/{id}"), &record(id, bytes)).expect(204);
            let path = format!("/T/{id}");
            let (whole, coded) = (client.get(&path), get(&client, &path, "br"));
            assert_eq!(whole.body.len(), bytes);
            assert!(!whole.has("content-encoding"));
            if bytes > threshold {
                assert_eq!(plain(&coded), whole.body, "{threshold}: {id}");
                assert!(coded.body.len() < bytes);
                assert_ne!(coded.header("etag"), whole.header("etag"), "{threshold}: {id}");
            } else {
                assert!(!coded.has("content-encoding"), "{threshold}: {id}: {coded}");
                assert_eq!(coded.header("etag"), whole.header("etag"), "{threshold}: {id}");
            }
            for reply in [&whole, &coded] {
                assert!(reply.header("vary").contains("Accept-Encoding"), "{reply}");
            }
        }
        server.stop();
    }
}

#[test]
fn only_those_who_take_brotli_get_it() {
    let server = Home::with_schema(SCHEMA).start();
    let client = server.client();
    client.put("/T/1", &record("1", 5000)).expect(204);
    for encoding in ["br", "gzip, br", "gzip;q=1.0, br;q=0.5", "BR", "*", "br;q=0.001"] {
        assert_eq!(get(&client, "/T/1", encoding).header("content-encoding"), "br", "{encoding}");
    }
    for encoding in
        ["br;q=0", "br;q=0, *", "br; q=0.0", "gzip, deflate", "identity", "", "brx", "xbr", "*;q=0"]
    {
        assert!(!get(&client, "/T/1", encoding).has("content-encoding"), "{encoding}");
    }
}

#[test]
fn a_conditional_get_knows_both_representations() {
    let server = Home::with_schema(SCHEMA).start();
    let client = server.client();
    client.put("/T/1", &record("1", 5000)).expect(204);
    let tags = [client.get("/T/1"), get(&client, "/T/1", "br")]
        .map(|reply| reply.header("etag").to_owned());
    for (tag, encoding) in [(&tags[0], "identity"), (&tags[1], "br"), (&tags[1], "identity")] {
        let ask = client.request("GET", "/T/1").header("if-none-match", tag);
        let reply = ask.header("accept-encoding", encoding).send().expect(304);
        assert_eq!(reply.header("etag"), tag.as_str());
        assert!(!reply.has("content-encoding"), "{reply}");
    }
    let ask = client.request("PUT", "/T/1").header("if-match", &tags[1]).json("{}");
    ask.send().expect(204);
}

#[test]
fn head_shows_the_coding_of_get() {
    let server = Home::with_schema(SCHEMA).start();
    let client = server.client();
    client.put("/T/1", &record("1", 5000)).expect(204);
    let head = client.request("HEAD", "/T/1").header("accept-encoding", "br").send().expect(200);
    let whole = get(&client, "/T/1", "br");
    for name in ["content-encoding", "etag", "content-length", "vary"] {
        assert_eq!(head.header(name), whole.header(name), "{name}");
    }
}

#[test]
fn lists_are_compressed_whatever_their_size() {
    let server = Home::with_schema(SCHEMA).start();
    let client = server.client();
    client.put("/T/1", r#"{"n":1}"#).expect(204);
    for path in ["/T/", "/T/?n=1", "/T/?n=1&select(id)", "/T/?n=2"] {
        let (whole, coded) = (client.get(path), get(&client, path, "br"));
        assert_eq!(plain(&coded), whole.body, "{path}");
    }
    let cbor = client
        .request("GET", "/T/")
        .header("accept", "application/cbor")
        .header("accept-encoding", "br");
    let cbor = plain(&cbor.send().expect(200));
    let list: ciborium::Value = ciborium::from_reader(cbor.as_slice()).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1);
}

#[test]
fn zero_switches_it_off() {
    let server = Home::with_schema(SCHEMA).launch().set("http.compressionThreshold=0").start();
    let client = server.client();
    client.put("/T/1", &record("1", 100_000)).expect(204);
    for path in ["/T/1", "/T/"] {
        let reply = get(&client, path, "br");
        assert!(!reply.has("content-encoding"), "{path}: {reply}");
        assert!(reply.body.len() >= 100_000);
    }
}
