//! What a record may hold.

use super::start;
use serde_json::Value;

#[test]
fn every_type_takes_its_values_and_gives_them_back() {
    let server = start();
    let client = server.client();
    let long = format!("\"{}\"", "ü€😀".repeat(1000));
    let cases: &[(&str, &[&str])] = &[
        ("string", &["\"\"", "\"a\\nb\\u0000\"", &long]),
        ("int", &["0", "-2147483648", "2147483647"]),
        ("long", &["9007199254740992", "-9007199254740992"]),
        ("float", &["1.5", "-0.25", "1e300", "7"]),
        ("big", &["123456789012345678901234567890", "-1"]),
        ("boolean", &["true", "false"]),
        ("any", &["1", "\"x\"", "[1,{\"a\":null}]", "{}", "null"]),
        ("date", &["\"2016-01-02T03:04:05.678Z\"", "\"2016-01-02\"", "1451704245678"]),
        ("bytes", &["\"aGk=\"", "\"\""]),
        ("blob", &["\"AAEC\""]),
        ("other", &["\"x\"", "7"]),
        ("list", &["[]", "[1,2]"]),
        ("place", &["{\"town\":\"Bern\",\"lat\":46.9,\"more\":1}"]),
    ];
    for (name, values) in cases {
        for value in values.iter().chain(&["null"]) {
            let body = format!(r#"{{"{name}":{value}}}"#);
            client.put("/Types/1", &body).expect(204);
            let read = client.get("/Types/1").expect(200).text();
            assert_eq!(read, format!(r#"{{"id":"1","{name}":{value}}}"#), "{name}");
        }
    }
}

#[test]
fn every_type_refuses_other_values_and_says_which() {
    let server = start();
    let client = server.client();
    let cases: &[(&str, &[&str], &str)] = &[
        ("string", &["5", "true", "[]", "{}"], "a string"),
        ("int", &["1.5", "2147483649", "\"5\"", "true"], "a whole number between"),
        ("long", &["9007199254740993", "1.5", "\"5\""], "a whole number between"),
        ("float", &["\"1.5\"", "true", "1e999"], "a number"),
        ("big", &["1.5", "\"1\"", "true"], "a whole number of at most 300 digits"),
        ("boolean", &["1", "\"true\"", "0"], "a boolean"),
        ("date", &["\"tomorrow\"", "\"2016-13-01\"", "true"], "a date"),
        ("bytes", &["\"?\"", "\"aGk\"", "1"], "base64"),
        ("blob", &["\"?\"", "{}"], "base64"),
        ("other", &["1.5", "true", "[]"], "a string or a whole number"),
        ("list", &["5", "{}", "\"a\""], "an array"),
        ("place", &["5", "[]"], "an object"),
    ];
    client.put("/Types/1", r#"{"any":"before"}"#).expect(204);
    for (name, values, expected) in cases {
        for value in *values {
            let body = format!(r#"{{"{name}":{value}}}"#);
            for method in ["PUT", "PATCH"] {
                let refused = client.request(method, "/Types/1").json(&body).send().expect(400);
                let sentence = refused.error();
                assert!(
                    sentence.contains(&format!("in property {name} must be"))
                        && sentence.contains(expected),
                    "{method} {body}: {sentence}"
                );
            }
        }
    }
    assert_eq!(
        client.get("/Types/1").text(),
        r#"{"id":"1","any":"before"}"#,
        "nothing was written"
    );
    for (body, part) in [
        (r#"{"list":[1,"a"]}"#, "property list[1]"),
        (r#"{"list":[1,null]}"#, "Property list[1] is required"),
        (r#"{"place":{"lat":1}}"#, "Property place.town is required"),
        (r#"{"place":{"town":1}}"#, "property place.town"),
    ] {
        let refused = client.put("/Types/1", body).expect(400);
        assert!(refused.error().contains(part), "{body}: {refused}");
    }
}

#[test]
fn all_mistakes_of_a_body_are_told_at_once() {
    let server = start();
    let client = server.client();
    let refused = client.put("/Sealed/1", r#"{"age":"x","extra":1,"more":2}"#).expect(400).error();
    for part in [
        "property age",
        "Property extra is not allowed",
        "Property more is not allowed",
        "Property name is required",
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    client.put("/Sealed/1", r#"{"name":"a","age":1}"#).expect(204);
    client.patch("/Sealed/1", r#"{"extra":1}"#).expect(400);
    client.patch("/Sealed/1", r#"{"name":null}"#).expect(400);
    client.patch("/Sealed/2", r#"{"age":1}"#).expect(400);
    client.get("/Sealed/2").expect(404);
    assert_eq!(client.get("/Sealed/1").text(), r#"{"id":"1","name":"a","age":1}"#);
}

#[test]
fn what_is_no_json_object_is_refused_with_its_place() {
    let server = start();
    let client = server.client();
    let deep =
        |levels: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
    let cases = [
        ("", "line 1"),
        ("{", "line 1"),
        ("{\"a\":1,}", "line 1 column 8"),
        ("{\n\"a\": 01}", "line 2"),
        ("{\"a\":NaN}", "line 1"),
        ("{\"a\":Infinity}", "line 1"),
        ("{\"a\":1} x", "line 1"),
        ("{'a':1}", "line 1"),
        ("{\"a\":\"\\ud800\"}", "surrogate"),
        ("null", "must be an object, not null"),
        ("\"text\"", "must be an object, not a string"),
        ("[]", "must be an object, not an array"),
        ("5", "must be an object, not a number"),
        (&deep(65), "nested deeper than 64"),
        (&deep(100_000), ""),
    ];
    for (body, part) in cases {
        let refused = client.put("/Dog/1", body).expect(400);
        let shown: String = body.chars().take(40).collect();
        assert!(refused.error().contains(part), "{shown}: {refused}");
        assert_eq!(refused.json()["type"], "urn:harper:problem:invalid-body", "{shown}");
    }
    let refused = client.request("PUT", "/Dog/1").body("application/json", b"{\"a\":\"\xff\"}");
    assert!(refused.send().expect(400).error().contains("UTF-8"));
    client.get("/Dog/1").expect(404);
    client.put("/Dog/1", &deep(64)).expect(204);
}

#[test]
fn of_members_with_one_name_the_last_counts() {
    let server = start();
    let client = server.client();
    client.put("/Dog/1", r#"{"name":"a","age":1,"name":"b","x":1,"x":[2]}"#).expect(204);
    assert_eq!(client.get("/Dog/1").text(), r#"{"id":"1","name":"b","age":1,"x":[2]}"#);
    assert_eq!(client.get("/Dog/?name=a").text(), "[]");
    assert_eq!(client.get("/Dog/?name=b&select(id)").text(), r#"["1"]"#);
    client.put("/Dog/2", r#"{"age":"wrong","age":2}"#).expect(204);
}

#[test]
fn numbers_keep_the_digits_they_were_written_with() {
    let server = start();
    let client = server.client();
    let body = r#"{"any":12345678901234567890.10,"int":5}"#;
    client.put("/Types/1", body).expect(204);
    let read = client.get("/Types/1").text();
    assert!(read.contains("12345678901234567890.10"), "{read}");
    let value: Value = client.get("/Types/?select(int)").json();
    assert_eq!(value, serde_json::json!([5]));
}
