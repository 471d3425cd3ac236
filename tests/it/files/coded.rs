//! Files in a content coding: made once, or lying beside the file.

use super::options::patient;
use crate::harness::{Client, Home, Reply};
use std::io::{Read, Write};
use std::sync::Arc;

const TEXT: &str = "function city() { return 'by the sea'; }\n";

fn home() -> Arc<Home> {
    let home = Home::empty();
    home.write("app/config.yaml", "static:\n  files: 'web/**'\n");
    home.write("app/web/app.js", TEXT.repeat(200));
    home.write("app/web/large.js", TEXT.repeat(30_000));
    home.write("app/web/small.js", TEXT);
    home.write("app/web/photo.png", TEXT.repeat(200));
    home
}

fn get(client: &Client, path: &str, coding: &str) -> Reply {
    client.request("GET", path).header("accept-encoding", coding).send().expect(200)
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn decoded(reply: &Reply) -> String {
    let body = reply.body.as_slice();
    let mut text = Vec::new();
    match reply.header("content-encoding") {
        "br" => brotli::BrotliDecompress(&mut &*body, &mut text).unwrap(),
        "gzip" => drop(flate2::read::GzDecoder::new(body).read_to_end(&mut text).unwrap()),
        "zstd" => text = zstd::decode_all(body).unwrap(),
        _ => text = body.to_vec(),
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn small_files_are_coded_once_and_kept() {
    let home = home();
    let server = patient(&home).start();
    let client = server.client();
    let plain = client.get("/app.js").expect(200);
    let mut tags = vec![plain.header("etag").to_owned()];
    for coding in ["br", "gzip", "zstd"] {
        let coded = get(&client, "/app.js", coding);
        assert_eq!(coded.header("content-encoding"), coding);
        assert_eq!(decoded(&coded), plain.text());
        assert_eq!(coded.header("content-length"), coded.body.len().to_string());
        assert!(coded.body.len() < plain.body.len() / 10);
        assert!(coded.header("vary").contains("Accept-Encoding"));
        let ask = client.request("GET", "/app.js").header("accept-encoding", coding);
        let known = ask.header("if-none-match", coded.header("etag")).send().expect(304);
        assert_eq!(known.header("etag"), coded.header("etag"));
        let ask = client.request("HEAD", "/app.js").header("accept-encoding", coding);
        let head = ask.send().expect(200);
        for name in ["content-encoding", "content-length", "etag"] {
            assert_eq!(head.header(name), coded.header(name), "{name}");
        }
        let ask = client.request("GET", "/app.js").header("accept-encoding", coding);
        let part = ask.header("range", "bytes=0-7").send().expect(206);
        assert_eq!((part.text().as_str(), part.has("content-encoding")), ("function", false));
        tags.push(coded.header("etag").to_owned());
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4);
    // on the disk there is nothing any more, and the coded file is still sent
    std::fs::remove_file(home.path("app/web/app.js")).unwrap();
    assert_eq!(decoded(&get(&client, "/app.js", "br")), plain.text());
}

#[test]
fn what_does_not_pay_is_sent_plain() {
    let server = home().start();
    let client = server.client();
    for path in ["/small.js", "/photo.png", "/large.js"] {
        assert!(!get(&client, path, "br, gzip, zstd").has("content-encoding"), "{path}");
    }
    assert!(!get(&client, "/app.js", "br;q=0, identity").has("content-encoding"));
    let server = home().launch().set("http.compressionThreshold=0").start();
    assert!(!get(&server.client(), "/app.js", "br").has("content-encoding"));
}

#[test]
fn a_coded_file_beside_the_other_is_taken_while_it_is_current() {
    let home = home();
    for (name, times) in [("app.js", 200), ("large.js", 30_000)] {
        home.write(&format!("app/web/{name}.gz"), gzip(&TEXT.repeat(times)));
    }
    let server = home.launch().start();
    let client = server.client();
    for name in ["app.js", "large.js"] {
        let made = std::fs::read(home.path(&format!("app/web/{name}.gz"))).unwrap();
        let reply = get(&client, &format!("/{name}"), "gzip");
        assert_eq!(reply.header("content-encoding"), "gzip", "{name}");
        assert!(reply.body == made, "{name}: as it lies there");
        assert!(reply.header("content-type").starts_with("text/javascript"));
        assert_eq!(reply.header("content-length"), made.len().to_string());
    }
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    let large = std::fs::File::options().append(true).open(home.path("app/web/large.js")).unwrap();
    large.set_modified(later).unwrap();
    assert!(!get(&client, "/large.js", "gzip").has("content-encoding"), "it is older now");
}
