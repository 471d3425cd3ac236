//! Entity tags and the conditions on them.

use super::start;
use crate::harness::{Client, Home, Reply};

fn tag(client: &Client, path: &str) -> String {
    client.get(path).expect(200).header("etag").to_owned()
}

fn get_if(client: &Client, name: &'static str, value: &str) -> Reply {
    client.request("GET", "/Dog/1").header(name, value).send()
}

#[test]
fn a_tag_is_strong_and_differs_for_each_representation() {
    let server = start();
    let client = server.client();
    let long = format!(r#"{{"name":"{}"}}"#, "a long name ".repeat(200));
    client.put("/Dog/1", &long).expect(204);
    let accept = |path, name, value| {
        let reply = client.request("GET", path).header(name, value).send().expect(200);
        reply.header("etag").to_owned()
    };
    let mut tags = vec![
        tag(&client, "/Dog/1"),
        tag(&client, "/Dog/1?select(name)"),
        tag(&client, "/Dog/1?select(name,)"),
        tag(&client, "/Dog/1?select([name])"),
        tag(&client, "/Dog/1?select(id,name)"),
        accept("/Dog/1", "accept", "application/cbor"),
        accept("/Dog/1", "accept-encoding", "br"),
        accept("/Dog/1?select(name)", "accept", "application/cbor"),
    ];
    assert_eq!(tags[0], tag(&client, "/Dog/1"), "the same as long as nothing changes");
    for tag in &tags {
        assert!(tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    }
    client.put("/Dog/1", &long).expect(204);
    tags.push(tag(&client, "/Dog/1"));
    let count = tags.len();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), count, "a tag is shared: {tags:?}");
}

#[test]
fn if_none_match_spares_the_body() {
    let server = start();
    let client = server.client();
    client.put("/Dog/1", r#"{"name":"Rex"}"#).expect(204);
    let tag = tag(&client, "/Dog/1");
    let matching = [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"x\", {tag}"),
        "*".to_owned(),
        format!("\"a\",W/{tag} ,\"b\""),
    ];
    for value in &matching {
        for method in ["GET", "HEAD"] {
            let ask = client.request(method, "/Dog/1").header("if-none-match", value);
            let reply = ask.send().expect(304);
            assert!(reply.body.is_empty(), "{value}: {reply}");
            assert_eq!(reply.header("etag"), tag, "{value}");
            assert!(reply.has("vary"), "{value}: {reply}");
        }
    }
    for value in ["\"x\"", "x", "W/\"x\"", ""] {
        get_if(&client, "if-none-match", value).expect(200);
    }
    let cbor = client
        .request("GET", "/Dog/1")
        .header("accept", "application/cbor")
        .header("if-none-match", &tag);
    cbor.send().expect(200);
    client.patch("/Dog/1", r#"{"age":1}"#).expect(204);
    get_if(&client, "if-none-match", &tag).expect(200);
    client.request("GET", "/Dog/none").header("if-none-match", "*").send().expect(404);
}

#[test]
fn if_match_guards_writes() {
    let server = start();
    let client = server.client();
    client.put("/Dog/1", r#"{"name":"Rex"}"#).expect(204);
    let old = tag(&client, "/Dog/1");
    let write = |method: &str, path: &str, name, value: &str| {
        let ask = client.request(method, path).header(name, value);
        let ask = if method == "DELETE" { ask } else { ask.json(r#"{"name":"Max"}"#) };
        ask.send()
    };
    write("PATCH", "/Dog/1", "if-match", &old).expect(204);
    let new = tag(&client, "/Dog/1");
    for method in ["PUT", "PATCH", "DELETE"] {
        for value in [old.as_str(), "\"x\"", &format!("W/{new}")] {
            let refused = write(method, "/Dog/1", "if-match", value).expect(412);
            assert!(!refused.error().is_empty());
            assert_eq!(tag(&client, "/Dog/1"), new, "{method} {value}");
        }
        write(method, "/Dog/none", "if-match", "*").expect(412);
        write(method, "/Dog/1", "if-none-match", "*").expect(412);
        write(method, "/Dog/1", "if-none-match", &new).expect(412);
    }
    client.get("/Dog/none").expect(404);
    write("PUT", "/Dog/fresh", "if-none-match", "*").expect(204);
    write("PUT", "/Dog/fresh", "if-none-match", "*").expect(412);
    write("PUT", "/Dog/1", "if-match", &format!("{old}, {new}")).expect(204);
    write("PUT", "/Dog/1", "if-match", "*").expect(204);
    write("PUT", "/Dog/1", "if-none-match", &old).expect(204);
    let cbor = client.request("GET", "/Dog/1").header("accept", "application/cbor").send();
    write("DELETE", "/Dog/1", "if-match", cbor.header("etag")).expect(200);
    client.get("/Dog/1").expect(404);
}

#[test]
fn of_writers_with_one_tag_only_one_wins() {
    let server = start();
    server.client().put("/Dog/1", r#"{"age":0}"#).expect(204);
    let tag = tag(&server.client(), "/Dog/1");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|age| {
                let (server, tag) = (&server, &tag);
                scope.spawn(move || {
                    let body = format!(r#"{{"age":{age}}}"#);
                    let client = server.client();
                    let ask = client.request("PUT", "/Dog/1").header("if-match", tag);
                    ask.json(&body).send().status
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 7, "{statuses:?}");
}

/// A date of HTTP, so many seconds from now.
fn date(seconds: i64) -> String {
    let now = std::time::SystemTime::now();
    let distance = std::time::Duration::from_secs(seconds.unsigned_abs());
    httpdate::fmt_http_date(if seconds < 0 { now - distance } else { now + distance })
}

#[test]
fn writes_and_reads_honour_if_unmodified_since() {
    let server = start();
    let client = server.client();
    client.put("/Dog/1", r#"{"name":"Rex"}"#).expect(204);
    let write = |method: &str, path: &str, when: &str| {
        let ask = client.request(method, path).header("if-unmodified-since", when);
        let ask = if method == "DELETE" { ask } else { ask.json(r#"{"name":"Max"}"#) };
        ask.send()
    };
    for method in ["PUT", "PATCH", "DELETE"] {
        write(method, "/Dog/1", &date(-3600)).expect(412);
    }
    get_if(&client, "if-unmodified-since", &date(-3600)).expect(412);
    get_if(&client, "if-unmodified-since", &date(60)).expect(200);
    assert_eq!(client.get("/Dog/1").json()["name"], "Rex");
    write("PATCH", "/Dog/1", &date(60)).expect(204);
    write("PUT", "/Dog/1", "not a date").expect(204);
    let tag = tag(&client, "/Dog/1");
    let both = client.request("PUT", "/Dog/1").header("if-unmodified-since", &date(-3600));
    both.header("if-match", &tag).json("{}").send().expect(204);
    write("PUT", "/Dog/", &date(60)).expect(400);
    write("DELETE", "/Dog/1", &date(60)).expect(200);
}

#[test]
fn last_modified_is_told_when_asked_for_and_spares_the_body() {
    let home = Home::with_schema(super::SCHEMA);
    home.write(
        "app/config.yaml",
        "rest:\n  lastModified: true\ngraphqlSchema:\n  files: schema.graphql\n",
    );
    let server = home.start();
    let client = server.client();
    client.put("/Dog/1", r#"{"name":"Rex"}"#).expect(204);
    let modified = client.get("/Dog/1").expect(200).header("last-modified").to_owned();
    let told = httpdate::parse_http_date(&modified).unwrap();
    assert!(told.elapsed().unwrap().as_secs() < 120, "{modified}");
    let spared = get_if(&client, "if-modified-since", &modified).expect(304);
    assert!(spared.body.is_empty() && spared.has("etag"), "{spared}");
    get_if(&client, "if-modified-since", &date(-3600)).expect(200);
    get_if(&client, "if-modified-since", "x").expect(200);
    let tagged = client.request("GET", "/Dog/1").header("if-modified-since", &modified);
    tagged.header("if-none-match", "\"other\"").send().expect(200);
    let put = client.request("PUT", "/Dog/1").header("if-modified-since", &modified);
    put.json("{}").send().expect(204);

    let plain = start();
    let client = plain.client();
    client.put("/Dog/1", r#"{"name":"Rex"}"#).expect(204);
    assert!(!client.get("/Dog/1").has("last-modified"));
    get_if(&client, "if-modified-since", &date(60)).expect(200);
}

/// Compare and swap by tag: of what fifty writers count, nothing is lost.
#[test]
fn fifty_writers_with_tags_lose_no_count() {
    const ROUNDS: u64 = 4;
    let server = start();
    server.client().put("/Dog/1", r#"{"age":0}"#).expect(204);
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                let client = server.client();
                for _ in 0..ROUNDS {
                    loop {
                        let seen = client.get("/Dog/1").expect(200);
                        let age = seen.json()["age"].as_u64().unwrap() + 1;
                        let ask = client.request("PUT", "/Dog/1");
                        let ask = ask.header("if-match", seen.header("etag"));
                        match ask.json(&format!(r#"{{"age":{age}}}"#)).send().status {
                            204 => break,
                            status => assert_eq!(status, 412),
                        }
                    }
                }
            });
        }
    });
    assert_eq!(server.client().get("/Dog/1").json()["age"], 50 * ROUNDS);
}
