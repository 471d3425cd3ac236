//! Content codings: above the threshold, for those who take them; and of request bodies.

use crate::harness::{Client, Home, Reply};
use std::io::Read;

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
    for encoding in ["br", "gzip, br", "zstd;q=0.9, gzip, br", "gzip;q=0.5, br", "BR", "br;q=0.001"]
    {
        assert_eq!(get(&client, "/T/1", encoding).header("content-encoding"), "br", "{encoding}");
    }
    for encoding in
        ["br;q=0", "br; q=0.0", "deflate", "identity", "", "brx", "xbr", "identity, br;q=0.5"]
    {
        assert!(!get(&client, "/T/1", encoding).has("content-encoding"), "{encoding}");
    }
}

/// Undoes the coding that the answer names.
fn decoded(reply: &Reply) -> Vec<u8> {
    let mut plain = Vec::new();
    let body = reply.body.as_slice();
    match reply.header("content-encoding") {
        "br" => brotli::BrotliDecompress(&mut &*body, &mut plain).unwrap(),
        "gzip" => drop(flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap()),
        "zstd" => plain = zstd::decode_all(body).unwrap(),
        "" => plain = body.to_vec(),
        other => panic!("{other}"),
    }
    plain
}

#[test]
fn every_coding_is_sent_to_those_who_prefer_it() {
    let server = Home::with_schema(SCHEMA).start();
    let client = server.client();
    for n in 0..600 {
        client.put(&format!("/T/{n:04}"), &format!(r#"{{"n":{n}}}"#)).expect(204);
    }
    client.put("/T/big", &record("big", 40_000)).expect(204);
    for (encoding, coding) in [
        ("br", "br"),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, zstd", "zstd"),
        ("gzip, br;q=0.9, zstd;q=0.8", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("*", "zstd"),
        ("zstd;q=0, *", "br"),
    ] {
        for path in ["/T/big", "/T/", "/T/?n=7"] {
            let (whole, coded) = (client.get(path), get(&client, path, encoding));
            assert_eq!(coded.header("content-encoding"), coding, "{encoding} {path}");
            assert_eq!(decoded(&coded), whole.body, "{encoding} {path}");
            assert!(coded.header("etag") != whole.header("etag") || !whole.has("etag"));
            let ask = client.request("GET", path).header("accept-encoding", encoding);
            if coded.has("etag") {
                let ask = ask.header("if-none-match", coded.header("etag"));
                ask.send().expect(304);
            }
        }
    }
}

#[test]
fn a_plain_body_that_is_excluded_is_not_sent() {
    let server = Home::with_schema(SCHEMA).start();
    let client = server.client();
    client.put("/T/1", "{}").expect(204);
    for encoding in ["identity;q=0, gzip", "gzip, *;q=0"] {
        let reply = get(&client, "/T/1", encoding);
        assert_eq!(reply.header("content-encoding"), "gzip", "though it is small: {reply}");
        assert_eq!(decoded(&reply), client.get("/T/1").body);
    }
    for encoding in ["identity;q=0", "*;q=0", "deflate, identity;q=0"] {
        let ask = client.request("GET", "/T/1").header("accept-encoding", encoding);
        assert!(ask.send().expect(406).error().contains("zstd, br, gzip"), "{encoding}");
    }
    let put = client.request("PUT", "/T/2").header("accept-encoding", "*;q=0").json("{}");
    put.send().expect(204);
}

type Encode<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

#[test]
fn request_bodies_are_decoded_within_the_limit() {
    let home = Home::with_schema(SCHEMA);
    let server = home.launch().set("http.bodyBytesMax=100000").start();
    let client = server.client();
    let gzip = |body: &[u8]| {
        let mut out = Vec::new();
        flate2::read::GzEncoder::new(body, flate2::Compression::best())
            .read_to_end(&mut out)
            .unwrap();
        out
    };
    let zlib = |body: &[u8]| {
        let mut out = Vec::new();
        flate2::read::ZlibEncoder::new(body, flate2::Compression::best())
            .read_to_end(&mut out)
            .unwrap();
        out
    };
    let br = |body: &[u8]| {
        let mut out = Vec::new();
        brotli::BrotliCompress(&mut &*body, &mut out, &Default::default()).unwrap();
        out
    };
    let zstd = |body: &[u8]| zstd::encode_all(body, 3).unwrap();
    let send = |coding: &str, body: Vec<u8>| {
        let ask = client.request("PUT", "/T/1").header("content-encoding", coding);
        ask.body("application/json", body).send()
    };
    let codings: [(&str, Encode<'_>); 6] = [
        ("gzip", &gzip),
        ("x-gzip", &gzip),
        ("deflate", &zlib),
        ("br", &br),
        ("BR", &br),
        ("zstd", &zstd),
    ];
    for (number, (coding, encode)) in codings.into_iter().enumerate() {
        send(coding, encode(record("1", 50_000 + number).as_bytes())).expect(204);
        assert_eq!(client.get("/T/1").body.len(), 50_000 + number, "{coding}");
        let bomb = encode(&vec![b' '; 10_000_000]);
        assert!(bomb.len() < 20_000, "{coding}");
        send(coding, bomb).expect(413);
        let refused = send(coding, b"plain".to_vec()).expect(400);
        assert!(refused.error().contains("not valid"), "{refused}");
    }
    send("identity", record("1", 90).into_bytes()).expect(204);
    for coding in ["compress", "gzip, br", "?"] {
        let refused = send(coding, b"{}".to_vec()).expect(415);
        assert_eq!(refused.header("accept-encoding"), "br, zstd, gzip, deflate");
    }
    assert_eq!(client.get("/T/1").body.len(), 90);
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
