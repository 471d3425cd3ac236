//! Errors as the client sees them: problem details with Harper's sentence.

use super::start;
use ciborium::Value;

#[test]
fn every_error_is_a_problem_in_its_final_form() {
    let server = start();
    let client = server.client();
    client.put("/Dog/1", "{}").expect(204);
    let cases = [
        ("GET", "/Nope", "not-found", 404, "Not found"),
        ("GET", "/Dog/none", "not-found", 404, "Not found"),
        ("GET", "/Dog/?nosuch=1", "invalid-query", 400, "nosuch is not a defined attribute"),
        ("GET", "/Num/abc", "bad-request", 400, "expecting Int"),
        ("POST", "/Dog/1", "method-not-allowed", 405, "does not have a POST method"),
        ("PURGE", "/Dog/1", "not-implemented", 501, "Method PURGE is not recognized"),
    ];
    for (method, path, name, status, part) in cases {
        let reply = client.request(method, path).send().expect(status);
        assert_eq!(reply.header("content-type"), "application/problem+json", "{method} {path}");
        let problem = reply.json();
        assert_eq!(problem["type"], format!("urn:harper:problem:{name}"), "{method} {path}");
        assert_eq!(problem["status"], status, "{method} {path}");
        assert!(!problem["title"].as_str().unwrap().is_empty());
        assert_eq!(problem["detail"], problem["error"]);
        assert!(reply.error().contains(part), "{method} {path}: {reply}");
    }
}

#[test]
fn a_problem_comes_in_the_type_that_was_asked_for() {
    let server = start();
    let client = server.client();
    let ask = |accept: &str| client.request("GET", "/Nope").header("accept", accept).send();
    let reply = ask("application/cbor").expect(404);
    let problem: Value = ciborium::from_reader(reply.body.as_slice()).unwrap();
    let error = problem.as_map().unwrap().iter().find(|(name, _)| name.as_text() == Some("error"));
    assert_eq!(error.unwrap().1.as_text(), Some("Not found"));
    assert!(reply.header("content-type").contains("cbor"), "{reply}");
    assert_eq!(ask("text/html").expect(404).error(), "Not found", "JSON when nothing fits");
}

#[test]
fn a_type_that_is_not_offered_is_406_and_one_that_is_not_understood_415() {
    let server = start();
    let client = server.client();
    client.put("/Dog/1", "{}").expect(204);
    for accept in ["text/html", "image/png", "application/json;q=0"] {
        for path in ["/Dog/1", "/Dog/", "/Dog"] {
            let refused = client.request("GET", path).header("accept", accept).send().expect(406);
            let sentence = refused.error();
            assert!(sentence.contains("application/json, application/cbor"), "{sentence}");
        }
    }
    let refused = client.request("POST", "/Dog/").header("accept", "text/html").json("{}").send();
    refused.expect(406);
    let refused = client.request("DELETE", "/Dog/1").header("accept", "text/html").send();
    refused.expect(406);
    assert_eq!(
        client.get("/Dog/?select(id)").text(),
        r#"["1"]"#,
        "refused before anything is done"
    );
    for kind in ["application/merge-patch+json", "text/csv; charset=latin1", "nonsense"] {
        let refused = client.request("PUT", "/Dog/2").body(kind, "{}").send().expect(415);
        let named = kind.trim_start_matches("text/csv; charset=");
        assert!(refused.error().contains(named), "{refused}");
    }
    for kind in ["application/json; charset=utf-8", "APPLICATION/JSON"] {
        client.request("PUT", "/Dog/2").body(kind, "{}").send().expect(204);
    }
}

#[test]
fn a_body_beyond_the_limit_is_413_however_it_is_framed() {
    let home = crate::harness::Home::with_schema(super::SCHEMA);
    let server = home.launch().set("http.bodyBytesMax=1000").start();
    let client = server.client();
    let body = |bytes: usize| format!(r#"{{"name":"{}"}}"#, "x".repeat(bytes - 11));
    client.put("/Dog/1", &body(1000)).expect(204);
    let refused = client.put("/Dog/1", &body(1001)).expect(413);
    assert_eq!(refused.error(), "The body is larger than 1000 bytes");
    assert_eq!(refused.header("connection"), "close");
    let mut wire = server.wire();
    wire.send("PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..5 {
        wire.send(format!("100\r\n{}\r\n", "x".repeat(256)));
    }
    assert_eq!(wire.reply().status, 413, "a chunked body is counted as it comes");
    let mut wire = server.wire();
    wire.send("PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n");
    assert_eq!(wire.reply().status, 413, "an announced size is refused before it is sent");
    assert_eq!(client.get("/Dog/1").json()["name"].as_str().unwrap().len(), 1000 - 11);
}

#[test]
fn faults_of_a_client_are_no_faults_of_the_server() {
    let server = start();
    let client = server.client();
    let paths = [
        "/Dog/%",
        "/Dog/%zz",
        "/Dog/%00",
        "/Dog/?%",
        "/Dog/?name=%zz",
        "/Dog/?=",
        "/Dog/?&",
        "/Dog/?a",
        "/Dog/?(",
        "/Dog/?)",
        "/Dog/?sort()",
        "/Dog/?select(",
        "/Dog/?limit(-1)",
        "/Dog/?limit(99999999999999999999)",
        "//",
        "/%2e%2e/",
        "/Dog/?name=%ff",
        "/Dog/../..",
        "/Dog/?name==*",
        "/Dog/?age==null&age!=null",
    ];
    for path in paths {
        for method in ["GET", "DELETE", "PUT", "PATCH", "POST"] {
            let status = client.request(method, path).send().status;
            assert!((200..500).contains(&status), "{method} {path}: {status}");
        }
    }
}

#[test]
fn a_condition_on_a_write_is_never_dropped() {
    let server = start();
    let client = server.client();
    client.put("/Dog/1", "{}").expect(204);
    for (method, path) in [
        ("DELETE", "/Dog/1?name=Bo"),
        ("DELETE", "/Dog/1?)))"),
        ("PUT", "/Dog/1?name=Bo"),
        ("PATCH", "/Dog/1?name=Bo"),
        ("PATCH", "/Dog/?name=Bo"),
        ("POST", "/Dog/?name=Bo"),
    ] {
        let reply = client.request(method, path).json("{}").send().expect(400);
        assert!(reply.error().contains("A query has no meaning"), "{method} {path}: {reply}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let ask = client.request(method, "/Dog/");
        let reply = ask.header("if-match", "\"x\"").json("{}").send().expect(400);
        assert!(reply.error().contains("If-Match"), "{method}: {reply}");
    }
    client.get("/Dog/1").expect(200);
}

#[test]
fn a_body_that_nobody_wants_does_not_end_the_connection() {
    let server = start();
    let mut wire = server.wire();
    let body = "x".repeat(40_000);
    let head =
        format!("PUT /Nope HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    wire.send(head).send(&body[..10_000]);
    wire.send(&body[10_000..]);
    assert_eq!(wire.reply().status, 404);
    assert_eq!(wire.get("/Nope").reply().status, 404, "the same connection goes on");
    let head = "PUT /Nope HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n";
    wire.send(head).send("y".repeat(200_000));
    assert_eq!(wire.reply().header("connection"), "close");
}
