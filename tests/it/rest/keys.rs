//! Primary keys in paths and bodies.

use super::start;

#[test]
fn a_slash_in_a_key_may_be_encoded_or_not() {
    let server = start();
    let client = server.client();
    client.put("/Dog/a%2Fb", r#"{"name":"one"}"#).expect(204);
    assert_eq!(client.get("/Dog/a/b").expect(200).json()["id"], "a/b");
    client.put("/Dog/a/c", r#"{"name":"two"}"#).expect(204);
    client.put("/Dog/ab", r#"{"name":"three"}"#).expect(204);
    let below = client.get("/Dog/a/?select(id)").expect(200);
    assert_eq!(below.text(), r#"["a/b","a/c"]"#, "the records below a/");
    assert_eq!(client.get("/Dog/a/?name=two&select(id)").text(), r#"["a/c"]"#);
    assert_eq!(client.get("/Dog/x/").expect(200).text(), "[]");
    client.request("POST", "/Dog/a/").json("{}").send().expect(405);
    assert_eq!(client.delete("/Dog/a/").expect(200).text(), "true");
    assert_eq!(client.get("/Dog/?select(id)").text(), r#"["ab"]"#);
}

#[test]
fn any_text_can_be_a_key() {
    let server = start();
    let client = server.client();
    let keys = [
        ("/Dog/Z%C3%BCrich", "Zürich"),
        ("/Dog/a%20b", "a b"),
        ("/Dog/%22quoted%22", "\"quoted\""),
        ("/Dog/a%3Fb%23c", "a?b#c"),
        ("/Dog/%E2%82%AC", "€"),
        ("/Dog/1.name", "1.name"),
        ("/Dog/100%25", "100%"),
        ("/Dog/%01", "\u{1}"),
    ];
    for (path, key) in keys {
        client.put(path, "{}").expect(204);
        assert_eq!(client.get(path).expect(200).json()["id"], key, "{path}");
    }
    assert_eq!(client.get("/Dog/").json().as_array().unwrap().len(), keys.len());
    let refused = client.get("/Dog/%ff").expect(400);
    assert!(refused.error().contains("UTF-8"), "{refused}");
}

#[test]
fn a_key_has_at_most_1978_bytes() {
    let server = start();
    let client = server.client();
    let longest = format!("/Dog/{}", "k".repeat(1978));
    client.put(&longest, r#"{"name":"long","age":1}"#).expect(204);
    assert_eq!(client.get(&longest).expect(200).json()["name"], "long");
    assert_eq!(
        client.get("/Dog/?name=long&select(age)").text(),
        "[1]",
        "an index finds a long key too"
    );
    for method in ["GET", "PUT", "PATCH", "DELETE"] {
        let refused = client.request(method, &format!("{longest}k"));
        let refused = if method.starts_with('P') { refused.json("{}") } else { refused };
        let refused = refused.send().expect(400);
        assert!(refused.error().contains("1979 bytes, at most 1978"), "{method}: {refused}");
    }
    let euros = format!("/Dog/{}", "%E2%82%AC".repeat(660));
    let refused = client.put(&euros, "{}").expect(400);
    assert!(refused.error().contains("1980 bytes"), "bytes are counted, not characters: {refused}");
    let body = format!(r#"{{"id":"{}"}}"#, "k".repeat(1979));
    client.post("/Dog/", &body).expect(400);
}

#[test]
fn integer_keys_have_one_form() {
    let server = start();
    let client = server.client();
    for (path, id) in [("/Num/12", "12"), ("/Num/-3", "-3"), ("/Num/0", "0")] {
        client.put(path, "{}").expect(204);
        assert_eq!(client.get(path).text(), format!(r#"{{"id":{id}}}"#));
    }
    assert_eq!(client.get("/Num/?select(id)").text(), "[-3,0,12]", "in the order of numbers");
    for wrong in ["abc", "012", "+1", "1.0", "2147483649", "1e3"] {
        let refused = client.get(&format!("/Num/{wrong}")).expect(400);
        let sentence = format!("Invalid value for attribute id: \"{wrong}\", expecting Int");
        assert_eq!(refused.error(), sentence);
    }
    client.put("/Big/9007199254740992", "{}").expect(204);
    client.put("/Big/9007199254740993", "{}").expect(400);
    client.put("/Free/7", "{}").expect(204);
    client.put("/Free/seven", "{}").expect(204);
    assert_eq!(client.get("/Free/").text(), r#"[{"id":7},{"id":"seven"}]"#);
}

#[test]
fn keys_are_generated_where_a_body_has_none() {
    let server = start();
    let client = server.client();
    let made = client.post("/Dog/", r#"{"name":"a"}"#).expect(201);
    let key = made.json().as_str().unwrap().to_owned();
    assert_eq!(key.len(), 36, "a UUID: {key}");
    assert_eq!(&key[14..15], "4", "of version 4: {key}");
    assert_eq!(made.header("location"), format!("/Dog/{key}"));
    assert_eq!(client.get(made.header("location")).expect(200).json()["name"], "a");
    let numbers: Vec<i64> =
        (0..3).map(|_| client.post("/Num/", "{}").expect(201).json().as_i64().unwrap()).collect();
    assert_eq!(numbers[1], numbers[0] + 1);
    assert_eq!(numbers[2], numbers[0] + 2);
    assert_eq!(client.post("/Num/", "{}").header("location"), format!("/Num/{}", numbers[0] + 3));
    let odd = client.post("/Dog/", r#"{"id":"a b/ü?"}"#).expect(201);
    assert_eq!(odd.header("location"), "/Dog/a%20b/%C3%BC%3F");
    client.get(odd.header("location")).expect(200);
    let odd = client.post("/Dog/", r#"{"id":"folder/"}"#).expect(201);
    assert_eq!(client.get(odd.header("location")).expect(200).json()["id"], "folder/", "{odd}");
}

#[test]
fn generated_numbers_pass_over_those_in_use() {
    let server = start();
    let client = server.client();
    let first = client.post("/Num/", "{}").expect(201).json().as_i64().unwrap();
    for taken in 1..4 {
        client.put(&format!("/Num/{}", first + taken), r#"{"name":"taken"}"#).expect(204);
    }
    let next = client.post("/Num/", r#"{"name":"generated"}"#).expect(201).json();
    assert_eq!(client.get(&format!("/Num/{next}")).json()["name"], "generated");
    let all = client.get("/Num/?name=taken&select(id)").json();
    assert_eq!(all.as_array().unwrap().len(), 3);
    let server = server.stop().start();
    let after = server.client().post("/Num/", "{}").expect(201).json();
    assert!(after.as_i64() > next.as_i64(), "numbers go on after a restart: {after} after {next}");
}
