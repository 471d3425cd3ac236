//! Static files of an application.

mod coded;
mod options;

use crate::harness::{Home, Server};

fn start() -> Server {
    let home = Home::with_schema("type Dog @table @export { id: ID @primaryKey }");
    home.write(
        "app/config.yaml",
        "rest: true\ngraphqlSchema:\n  files: schema.graphql\nstatic:\n  files: 'web/**'\n",
    );
    home.write("app/web/index.html", "<h1>home</h1>");
    home.write("app/web/style.css", "body{}");
    home.write("app/web/code.js", "let a;");
    home.write("app/web/a b+ü.txt", "odd name");
    home.write("app/web/sub/index.html", "<h1>sub</h1>");
    home.write("app/web/empty/file.bin", [0, 1, 2, 255]);
    home.write("app/web/large.bin", "0123456789".repeat(100_000));
    home.write("app/web/nothing.txt", "");
    home.write("app/web/.hidden", "secret");
    home.write("app/web/.git/config", "secret");
    home.write("app/secret.txt", "secret");
    home.write("secret.txt", "secret");
    std::os::unix::fs::symlink(home.path("secret.txt"), home.path("app/web/link.txt")).unwrap();
    std::os::unix::fs::symlink(home.path(""), home.path("app/web/up")).unwrap();
    std::os::unix::fs::symlink("style.css", home.path("app/web/inside.css")).unwrap();
    home.start()
}

#[test]
fn files_are_served_with_their_type() {
    let server = start();
    let client = server.client();
    for (path, kind, body) in [
        ("/", "text/html; charset=utf-8", "<h1>home</h1>"),
        ("/index.html", "text/html; charset=utf-8", "<h1>home</h1>"),
        ("/sub/", "text/html; charset=utf-8", "<h1>sub</h1>"),
        ("/style.css", "text/css; charset=utf-8", "body{}"),
        ("/style.css?v=7", "text/css; charset=utf-8", "body{}"),
        ("/code.js", "text/javascript; charset=utf-8", "let a;"),
        ("/a%20b+%C3%BC.txt", "text/plain; charset=utf-8", "odd name"),
        ("/inside.css", "text/css; charset=utf-8", "body{}"),
        ("/nothing.txt", "text/plain; charset=utf-8", ""),
    ] {
        let reply = client.get(path).expect(200);
        assert_eq!((reply.header("content-type"), reply.text().as_str()), (kind, body), "{path}");
        assert_eq!(reply.header("content-length"), body.len().to_string(), "{path}");
        assert_eq!(reply.header("cache-control"), "public, max-age=0");
        assert_eq!(reply.header("server"), "HarperDB");
        assert!(reply.has("last-modified") && reply.header("etag").starts_with('"'), "{reply}");
        assert_eq!(reply.header("accept-ranges"), "bytes");
    }
    let binary = client.get("/empty/file.bin").expect(200);
    assert_eq!(
        (binary.header("content-type"), binary.body.as_slice()),
        ("application/octet-stream", &[0, 1, 2, 255][..])
    );
    let large = client.get("/large.bin").expect(200);
    assert_eq!(large.body.len(), 1_000_000);
    assert!(large.text() == "0123456789".repeat(100_000));
}

#[test]
fn tables_come_before_files_and_what_is_neither_is_404() {
    let server = start();
    let client = server.client();
    server.home.write("app/web/Dog", "a file named like a table");
    assert_eq!(client.get("/Dog").expect(200).json()["name"], "Dog");
    for path in [
        "/empty/",
        "/empty",
        "/sub//index.html",
        "/./index.html",
        "/nope.html",
        "/sub/nope",
        "/style.css/",
        "/web/index.html",
    ] {
        client.get(path).expect(404);
    }
    for method in ["POST", "PUT", "DELETE"] {
        let status = client.request(method, "/style.css").send().status;
        assert!(matches!(status, 404 | 405), "{method}: {status}");
    }
}

#[test]
fn head_and_validators_spare_the_body() {
    let server = start();
    let client = server.client();
    let whole = client.get("/large.bin").expect(200);
    let head = client.request("HEAD", "/large.bin").send().expect(200);
    assert!(head.body.is_empty());
    for name in ["content-length", "content-type", "last-modified"] {
        assert_eq!(head.header(name), whole.header(name), "{name}");
    }
    let tag = whole.header("etag").to_owned();
    let modified = whole.header("last-modified").to_owned();
    let strong = tag.trim_start_matches("W/").to_owned();
    let unchanged = [
        ("if-none-match", tag.as_str()),
        ("if-none-match", &strong),
        ("if-none-match", "*"),
        ("if-none-match", &format!("\"x\", {tag}")),
        ("if-modified-since", &modified),
    ];
    for (name, value) in unchanged {
        let reply = client.request("GET", "/large.bin").header(name, value).send().expect(304);
        assert!(reply.body.is_empty());
        assert_eq!(reply.header("etag").trim_start_matches("W/"), strong, "{name}");
    }
    for (name, value) in [
        ("if-none-match", "\"x\""),
        ("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("if-modified-since", "nonsense"),
    ] {
        client.request("GET", "/large.bin").header(name, value).send().expect(200);
    }
    let both = client.request("GET", "/large.bin").header("if-none-match", "\"x\"");
    both.header("if-modified-since", &modified).send().expect(200);
    server.home.write("app/web/large.bin", "changed");
    let changed =
        client.request("GET", "/large.bin").header("if-none-match", &tag).send().expect(200);
    assert_eq!(changed.text(), "changed");
}

#[test]
fn nothing_outside_of_the_folder_is_served() {
    let server = start();
    for target in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/sub/../../secret.txt",
        "/sub/%2e%2e/%2e%2e/secret.txt",
        "/..%5csecret.txt",
        "/./../secret.txt",
        "//secret.txt",
        "/link.txt",
        "/up/secret.txt",
        "/up/root/",
        "/.hidden",
        "/.git/config",
        "/%2ehidden",
        "/style.css%00.txt",
        "/secret.txt",
        "/app/secret.txt",
        "/schema.graphql",
        "/config.yaml",
        "/web/../secret.txt",
        "/%252e%252e/secret.txt",
    ] {
        let reply = server.wire().get(target).reply();
        assert!(matches!(reply.status, 400 | 404), "{target}: {reply}");
        assert!(!reply.text().contains("secret"), "{target}: {reply}");
    }
}

#[test]
fn url_path_and_index_are_options() {
    let home = Home::empty();
    home.write(
        "app/config.yaml",
        "static:\n  files: 'site/*.html'\n  urlPath: docs\n  index: false\n",
    );
    home.write("app/site/index.html", "index");
    home.write("app/site/deep/page.html", "deep");
    let server = home.start();
    let client = server.client();
    assert_eq!(client.get("/docs/index.html").expect(200).text(), "index");
    for path in ["/docs/", "/docs", "/", "/index.html", "/docs/deep/page.html", "/docsindex.html"] {
        client.get(path).expect(404);
    }
}
