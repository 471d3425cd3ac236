//! Options of the `static` component, folders, parts, and what is kept in memory.

use crate::harness::{Home, Launch, Reply, Server, eventually};
use std::sync::Arc;

fn home(options: &str) -> Arc<Home> {
    let home = Home::empty();
    home.write("app/config.yaml", format!("static:\n  files: 'web/**'\n{options}"));
    home.write("app/web/index.html", "home");
    home.write("app/web/about.html", "about");
    home.write("app/web/sub/index.html", "sub");
    home.write("app/web/404.html", "no such page");
    home.write("app/web/.well-known/security.txt", "contact");
    home
}

fn start(options: &str) -> Server {
    home(options).start()
}

#[test]
fn a_folder_without_its_slash_is_redirected() {
    let server = start("");
    let client = server.client();
    for (path, location) in [("/sub", "/sub/"), ("/sub?a=1&b", "/sub/?a=1&b")] {
        for method in ["GET", "HEAD"] {
            let reply = client.request(method, path).send().expect(301);
            assert_eq!(reply.header("location"), location);
        }
    }
    assert_eq!(client.get("/sub/").expect(200).text(), "sub");
    let elsewhere = server.wire().get("//sub").reply();
    assert!(!elsewhere.header("location").starts_with("//"), "{elsewhere}");
    assert_eq!(client.get("/.well-known/security.txt").expect(200).text(), "contact");
    let below = start("  urlPath: docs\n");
    let client = below.client();
    assert_eq!(client.get("/docs").expect(301).header("location"), "/docs/");
    assert_eq!(client.get("/docs/").expect(200).text(), "home");
    assert_eq!(client.get("/docs/sub").expect(301).header("location"), "/docs/sub/");
    start("  index: false\n").client().get("/sub").expect(404);
}

#[test]
fn extensions_are_tried() {
    let server = start("  extensions: [html, '.txt']\n");
    let client = server.client();
    assert_eq!(client.get("/about").expect(200).text(), "about");
    assert_eq!(client.get("/.well-known/security").expect(200).text(), "contact");
    client.get("/abou").expect(404);
    start("").client().get("/about").expect(404);
}

#[test]
fn what_is_not_found_can_be_a_page() {
    for (options, status, text) in [
        ("  notFound: 404.html\n", 404, "no such page"),
        ("  notFound: 404.html\n  fallthrough: false\n", 404, "no such page"),
        ("  notFound: {file: index.html, statusCode: 200}\n", 200, "home"),
    ] {
        let server = start(options);
        let reply = server.client().get("/nope/at/all").expect(status);
        assert_eq!(reply.text(), text, "{options}");
        assert!(reply.header("content-type").starts_with("text/html"));
        let head = server.client().request("HEAD", "/nope").send().expect(status);
        assert_eq!(head.header("content-length"), text.len().to_string());
        assert!(server.client().post("/nope", "{}").status >= 404);
    }
    let tag = {
        let server = start("  notFound: 404.html\n");
        let client = server.client();
        let ask = client.request("GET", "/nope").header("if-none-match", "*");
        ask.header("range", "bytes=0-1").send().expect(404).text()
    };
    assert_eq!(tag, "no such page", "conditions and ranges are for what there is");
    start("  fallthrough: false\n").client().get("/nope").expect(404);
    let both = home("  notFound: missing.html\n");
    both.start().client().get("/nope").expect(404);
}

#[test]
fn tables_are_asked_before_and_after() {
    let home = home(
        "  notFound: {file: index.html, statusCode: 200}\nrest: true\ngraphqlSchema:\n  files: schema.graphql\n",
    );
    home.write("app/schema.graphql", "type Dog @table @export { id: ID @primaryKey }");
    let server = home.start();
    assert_eq!(server.client().get("/Dog").expect(200).json()["name"], "Dog");
    server.client().get("/Dog/none").expect(404);
    assert_eq!(server.client().get("/dog").expect(200).text(), "home");
}

#[test]
fn parts_and_conditions_of_files() {
    let home = home("");
    home.write("app/web/large.bin", "0123456789".repeat(100_000));
    let server = home.start();
    let client = server.client();
    let range = |path: &str, range: &str| client.request("GET", path).header("range", range).send();
    for (asked, body) in [("bytes=0-3", "0123"), ("bytes=-2", "89"), ("bytes=999998-", "89")] {
        assert_eq!(range("/large.bin", asked).expect(206).text(), body);
    }
    let far = range("/large.bin", "bytes=65530-131080").expect(206);
    assert_eq!(
        (far.body.len(), far.header("content-range")),
        (65_551, "bytes 65530-131080/1000000")
    );
    assert!(far.text().starts_with("0123") && far.text().ends_with("90"), "{far}");
    let several = range("/large.bin", "bytes=0-1,999998-").expect(206);
    assert!(several.header("content-type").starts_with("multipart/byteranges"));
    assert_eq!(several.header("content-length"), several.body.len().to_string());
    assert_eq!(range("/about.html", "bytes=1-3").expect(206).text(), "bou");
    assert_eq!(range("/about.html", "bytes=9-").expect(416).header("content-range"), "bytes */5");
    let about = client.get("/about.html").expect(200);
    let conditional = |name: &'static str, value: &str| -> Reply {
        let ask = client.request("GET", "/about.html").header("range", "bytes=0-1");
        ask.header(name, value).send()
    };
    conditional("if-range", about.header("etag")).expect(206);
    conditional("if-range", about.header("last-modified")).expect(206);
    conditional("if-range", "\"other\"").expect(200);
    conditional("if-match", about.header("etag")).expect(206);
    conditional("if-match", "\"other\"").expect(412);
    conditional("if-unmodified-since", about.header("last-modified")).expect(206);
    conditional("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT").expect(412);
}

#[test]
fn a_file_in_memory_follows_the_disk() {
    let server = home("").start();
    let client = server.client();
    let first = client.get("/about.html").expect(200);
    for text in ["other", "longer than before"] {
        server.home.write("app/web/about.html", text);
        eventually("the new text", || (client.get("/about.html").text() == text).then_some(()));
        let tag = first.header("etag");
        client.request("GET", "/about.html").header("if-none-match", tag).send().expect(200);
    }
    std::fs::remove_file(server.home.path("app/web/about.html")).unwrap();
    eventually("it to be gone", || (client.get("/about.html").status == 404).then_some(()));
}

#[test]
fn mistakes_in_the_options_are_named() {
    for (options, part) in [
        ("  extensions: html\n", "static.extensions"),
        ("  notFound: [a]\n", "static.notFound"),
        ("  notFound: {file: a, statusCode: 99}\n", "static.notFound"),
    ] {
        let output = home(options).output(&["check", "app"]);
        let said = [output.stdout, output.stderr].concat();
        assert!(String::from_utf8_lossy(&said).contains(part), "{options}");
        assert_eq!(output.status.code(), Some(64));
    }
}

/// A server that never looks at the disk again by itself.
pub(super) fn patient(home: &Arc<Home>) -> Launch {
    home.launch().set("static.recheckAfter=1h")
}
